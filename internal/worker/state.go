package worker

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/seal"
)

// stateFormat is the form of the state file.
const stateFormat = 1

const (
	stateFile = "component.json"
	lockFile  = "lock"
	maxState  = 64 << 10 // bytes
)

// state is what a component keeps.
type state struct {
	server      string
	componentID string // "" before the enrolment
	clusterID   string
	clusterName string
	enrolledBy  []byte // hash of the token that it was enrolled with

	signing ed25519.PrivateKey
	own     *seal.Key // what others seal for this component alone
	cluster *seal.Key // of the cluster, or what we offer for it
}

// stateJSON is a state in the file.
type stateJSON struct {
	Format      int    `json:"format"`
	Server      string `json:"server"`
	ComponentID string `json:"component_id,omitempty"`
	ClusterID   string `json:"cluster_id,omitempty"`
	ClusterName string `json:"cluster_name,omitempty"`
	EnrolledBy  []byte `json:"enrolled_by,omitempty"`
	SigningSeed []byte `json:"signing_key"`
	Own         string `json:"identity"`
	Cluster     string `json:"cluster_key"`
}

// newState makes the keys of a component that is yet to enrol.
func newState() (state, error) {
	_, signing, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return state{}, fmt.Errorf("make a signing key: %w", err)
	}
	s := state{signing: signing}
	if s.own, err = seal.NewKey(); err != nil {
		return state{}, err
	}
	s.cluster, err = seal.NewKey()
	return s, err
}

func (s state) enrolled() bool { return s.componentID != "" }

// public returns the public half of the signing key.
func (s state) public() []byte { return s.signing.Public().(ed25519.PublicKey) }

// folder is the state folder, held for this process.
type folder struct {
	dir  string
	lock *os.File
}

// openFolder makes the folder if need be, for its owner only, and takes it.
// The lock is a flock(2), which goes with the process however it ends, and does
// not reach over network file systems that do not carry it.
func openFolder(dir string) (*folder, error) {
	if dir == "" {
		return nil, tidewaiter.InvalidField("state", "is empty; name the folder for the component's state")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, cannotWrite(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, cannotWrite(err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = tidewaiter.Errorf(tidewaiter.Conflict, "the state folder is in use by another scan component; give each component a folder of its own")
	} else if err != nil {
		err = fmt.Errorf("lock the state folder: %w", err)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &folder{dir: dir, lock: f}, nil
}

func cannotWrite(err error) error {
	return tidewaiter.Wrap(tidewaiter.Unavailable, err, "the state folder cannot be written; mount a volume there that user %d may write", os.Getuid())
}

// close gives the folder up. The lock's file stays: removing it would let a
// third process lock a new one while a second waits for the old.
func (f *folder) close() error { return f.lock.Close() }

// load reads the state; found is false if there is none yet. A file that
// cannot be read is left as it is.
func (f *folder) load() (s state, found bool, err error) {
	file, err := os.Open(filepath.Join(f.dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return state{}, false, nil
	}
	if err != nil {
		return state{}, false, fmt.Errorf("read the component's state: %w", err)
	}
	defer file.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(io.LimitReader(file, maxState+1))
	if err != nil {
		return state{}, false, fmt.Errorf("read the component's state: %w", err)
	}
	s, err = parseState(text)
	return s, err == nil, err
}

var (
	errDamaged = tidewaiter.InvalidField(stateFile,
		"in the state folder is damaged, and is left as it is; restore it from a backup, or remove it and enrol the component again with a new token (if it was the only component of its cluster, the passwords of the cluster's registries have to be given again)")
	errNewerState = tidewaiter.InvalidField(stateFile,
		"in the state folder was written by a newer release; use that release, or another folder")
)

// parseState reads a state file. Errors repeat nothing of it.
func parseState(text []byte) (state, error) {
	var j stateJSON
	if len(text) > maxState || json.Unmarshal(text, &j) != nil {
		return state{}, errDamaged
	}
	if j.Format > stateFormat {
		return state{}, errNewerState
	}
	if j.Format < 1 || len(j.SigningSeed) != ed25519.SeedSize {
		return state{}, errDamaged
	}
	s := state{
		server: j.Server, componentID: j.ComponentID, clusterID: j.ClusterID, clusterName: j.ClusterName,
		enrolledBy: j.EnrolledBy, signing: ed25519.NewKeyFromSeed(j.SigningSeed),
	}
	for _, k := range []struct {
		key  **seal.Key
		text string
	}{{&s.own, j.Own}, {&s.cluster, j.Cluster}} {
		var err error
		if *k.key, err = seal.ParseKey(k.text); err != nil {
			return state{}, errDamaged
		}
	}
	return s, nil
}

func (s state) marshal() ([]byte, error) {
	j := stateJSON{
		Format: stateFormat, Server: s.server, ComponentID: s.componentID, ClusterID: s.clusterID, ClusterName: s.clusterName,
		EnrolledBy: s.enrolledBy, SigningSeed: s.signing.Seed(), Own: s.own.Private(), Cluster: s.cluster.Private(),
	}
	text, err := json.MarshalIndent(j, "", "  ")
	return append(text, '\n'), err
}

// save replaces the file as a whole: whoever is killed meanwhile leaves the old
// one or the new one, on the disk and not only in memory.
func (f *folder) save(s state) error {
	text, err := s.marshal()
	if err != nil {
		return fmt.Errorf("encode the component's state: %w", err)
	}
	temporary := filepath.Join(f.dir, stateFile+".new")
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return cannotWrite(err)
	}
	if err := writeFile(temporary, text); err != nil {
		return cannotWrite(err)
	}
	if err := os.Rename(temporary, filepath.Join(f.dir, stateFile)); err != nil {
		return cannotWrite(err)
	}
	dir, err := os.Open(f.dir)
	if err != nil {
		return cannotWrite(err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return cannotWrite(err)
	}
	return nil
}

func writeFile(name string, text []byte) error {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	return errors.Join(err, file.Sync(), file.Close())
}
