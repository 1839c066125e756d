// Package advisory tells which advisories are about a version of a package.
//
// A [Builder] takes advisories and compiles them into a file: an [Index], from
// the name of a package to the versions that are affected. The file never
// changes. It is named by the digest of its bytes, and the same advisories, in
// whatever order they come, give the same bytes. [Index.Match] asks it,
// [Changed] says about which packages two of them differ.
package advisory
