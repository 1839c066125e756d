package uploadcmd

import (
	"testing"

	"github.com/tidewaiter/tidewaiter"
)

func address(t testing.TB, s string) tidewaiter.RegistryAddress {
	t.Helper()
	a, err := tidewaiter.ParseRegistryAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
