// Package e2e tests the whole product with nothing faked: the built server and
// scan component, a real dockerd, real registries with passwords and tokens,
// squid, PostgreSQL, Keystone, podman, skopeo and the shells that people use.
//
// The tests run with TIDEWAITER_E2E=1 (make e2e), as root, after
// test/provision.sh; a program that is missing then is a failure, not a skip.
// Each program has its own folder, socket and port, and is gone at the end:
// TestMain looks for survivors.
//
// The harness, one file each: process_test.go (programs), dockerd_test.go,
// registry_test.go (docker-registry, distribution, olareg), token_service_test.go,
// pki_test.go, content_test.go (what is in a registry), squid_test.go,
// postgres_test.go, keystone_test.go, tidewaiter_test.go, isolated_test.go (a
// server that can connect to nothing), relay_test.go (a network to cut, hold up
// and listen to), component_test.go, clock_test.go, connection_test.go (what
// users ask for), podman_test.go (podman, skopeo), shell_test.go, image_test.go
// (an image to move about), pulled_test.go (bytes that were pulled through a
// relay). A test at the end of most shows how it is used.
//
// Images with real content are made by the recipes in testdata/images, one file
// each, as real_image_test.go explains: newRealImage gives one by its name.
// snapshot_test.go makes their layers, tool_test.go reads what package managers
// list, packages_test.go compares. Making all takes minutes; they are kept in
// the user's cache (TIDEWAITER_E2E_CACHE is another place), and one is made anew
// when its recipe changes. many_images_test.go has images by the dozen.
//
// Scans: scan_content_test.go makes images that are small and each different,
// scan_client_test.go asks for scans as users do, scan_database_test.go asks the
// database whether all that it says of scans fits together.
package e2e
