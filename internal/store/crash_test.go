package store_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// crashVariable makes the test binary a writer that is to be killed.
const crashVariable = "TIDEWAITER_TEST_CRASH_URL"

// TestAcceptedChangesSurviveSIGKILL kills a process that writes and says what
// was accepted; all of that is there afterwards.
func TestAcceptedChangesSurviveSIGKILL(t *testing.T) {
	if url := os.Getenv(crashVariable); url != "" {
		writeUntilKilled(t, url)
		return
	}
	storetest.EachURL(t, func(t *testing.T, url string) {
		storetest.Open(t, url)
		child := exec.Command(os.Args[0], "-test.run=^"+"TestAcceptedChangesSurviveSIGKILL$")
		child.Env = append(os.Environ(), crashVariable+"="+url)
		out, err := child.StdoutPipe()
		must(t, err)
		must(t, child.Start())
		var accepted []string
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if accepted = append(accepted, lines.Text()); len(accepted) == 50 {
				must(t, child.Process.Kill())
			}
		}
		_ = child.Wait() // killed
		if len(accepted) < 50 {
			t.Fatalf("the writer ended early: %v", accepted)
		}
		db, err := store.Open(context.Background(), store.Options{URL: url})
		must(t, err)
		defer db.Close()
		for _, id := range accepted {
			if _, err := db.Domain(context.Background(), id); err != nil {
				t.Errorf("%s is lost: %v", id, err)
			}
		}
	})
}

func writeUntilKilled(t *testing.T, url string) {
	db, err := store.Open(context.Background(), store.Options{URL: url})
	must(t, err)
	for range 100_000 {
		id := store.NewID()
		must(t, db.CreateDomain(context.Background(), tidewaiter.Domain{ID: id, Name: id, Created: store.Now()}))
		fmt.Println(id)
	}
}
