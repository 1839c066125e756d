// Package tidewaiter holds the vocabulary of Tidewaiter: the nouns that every
// other package speaks of, and the kinds of error.
//
// It imports the standard library only, and has no JSON or SQL tags: how a
// noun looks on the wire is the business of internal/hssapi and
// internal/iamapi, and how it is stored the business of internal/store.
//
// A short tour:
//
//   - [RegistryAddress], [Namespace]: where a registry is, and the path inside
//     it that receives the scan component.
//   - [Domain], [User], [Project], [EnterpriseProject], [Policy], [Grant],
//     [AccessKey], [Token]: who may do what, where.
//   - [Caller]: the answer to "who is calling", and the judge of "may they".
//   - [Error], [Kind]: what went wrong, in terms that each API maps to its own
//     codes in exactly one place.
//
// The package makes no promise of compatibility yet (v0).
package tidewaiter
