package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tidewaiter/tidewaiter"
)

// Lock holds a data folder for one server.
type Lock struct{ f *os.File }

// LockDataFolder makes the folder if need be, for its owner only, and takes it
// for this process until [Lock.Release] or the end of the process, whichever
// way it ends. While another process has it, the error is of kind
// [tidewaiter.Conflict] and names that process.
//
// The lock is a flock(2) on the file "lock", which holds the process id. It
// does not reach over network file systems that do not carry flock.
func LockDataFolder(dir string) (*Lock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data folder: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = tidewaiter.Errorf(tidewaiter.Conflict,
			"data folder is in use by process %s; stop it or choose another folder", holder(f))
		return nil, errors.Join(err, f.Close())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock data folder: %w", err), f.Close())
	}
	if err := f.Truncate(0); err != nil {
		return nil, errors.Join(fmt.Errorf("lock data folder: %w", err), f.Close())
	}
	if _, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		return nil, errors.Join(fmt.Errorf("lock data folder: %w", err), f.Close())
	}
	return &Lock{f}, nil
}

// holder returns the process id in a lock file.
func holder(f *os.File) string {
	b := make([]byte, 20)
	n, _ := f.ReadAt(b, 0)
	pid := strings.TrimSpace(string(b[:n]))
	if _, err := strconv.Atoi(pid); err != nil {
		return "(unknown)"
	}
	return pid
}

// Release gives the folder up. The file stays: removing it would let a third
// process lock a new file of that name while a second waits for the old one.
func (l *Lock) Release() error { return l.f.Close() }
