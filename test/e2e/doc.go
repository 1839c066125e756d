// Package e2e tests the whole product with nothing faked: the built server,
// a real dockerd, a real registry with passwords, PostgreSQL, Keystone, podman,
// skopeo and the shells that people use.
//
// The tests run with TIDEWAITER_E2E=1 (make e2e), as root, after
// test/provision.sh; a program that is missing then is a failure, not a skip.
// Each program has its own folder, socket and port, and is gone at the end:
// TestMain looks for survivors.
//
// The harness, one file each: process_test.go (programs), dockerd_test.go,
// registry_test.go, postgres_test.go, keystone_test.go, tidewaiter_test.go,
// podman_test.go (podman, skopeo), shell_test.go, image_test.go (an image to
// move about). The test at the end of each file shows how it is used.
package e2e
