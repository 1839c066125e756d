package snapshots

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter"
)

// sourcesFolder holds what was kept of the sources, by digest.
const sourcesFolder = "sources"

// partPattern is how files are called until they are whole.
const partPattern = ".part-*.tmp"

// fetchPattern is how they are called that come from the database. What was not
// written to for so long is of a process that is no more.
const (
	fetchPattern = ".fetch-*.tmp"
	fetchedBy    = time.Hour
)

// pieceSize is how large the pieces of files in the database are.
const pieceSize = 1 << 20

func sourceName(digest tidewaiter.Digest) string {
	return strings.ReplaceAll(string(digest), ":", "-")
}

func (s *Service) sourcePath(digest tidewaiter.Digest) string {
	return filepath.Join(s.folder, sourcesFolder, sourceName(digest))
}

// keep writes what it reads to a file that is named by its digest, in a folder, and
// by a pattern until it is whole.
func keep(folder, pattern string, r io.Reader) (digest tidewaiter.Digest, path string, err error) {
	f, err := os.CreateTemp(folder, pattern)
	if err != nil {
		return "", "", fmt.Errorf("keep a file: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(f, sum), r)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", "", fmt.Errorf("keep a file: %w", err)
	}
	digest = tidewaiter.Digest("sha256:" + hex.EncodeToString(sum.Sum(nil)))
	path = filepath.Join(folder, sourceName(digest))
	if err = os.Rename(f.Name(), path); err != nil {
		return "", "", fmt.Errorf("keep a file: %w", err)
	}
	return digest, path, nil
}

// shareFile puts a file into the database, where servers have no folder in
// common.
func (s *Service) shareFile(ctx context.Context, digest tidewaiter.Digest, path string) error {
	if s.store.Dialect() == "sqlite" {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("share a file: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was read only
	piece := make([]byte, pieceSize)
	for position := 0; ; position++ {
		n, err := io.ReadFull(f, piece)
		if n > 0 || position == 0 {
			if err := s.store.PutPiece(ctx, digest, position, piece[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("share a file: %w", err)
		}
	}
}

// pieces reads a file that is in the database.
type pieces struct {
	ctx      context.Context
	s        *Service
	digest   tidewaiter.Digest
	position int
	rest     []byte
}

func (p *pieces) Read(b []byte) (int, error) {
	for len(p.rest) == 0 {
		piece, err := p.s.store.Piece(p.ctx, p.digest, p.position)
		if tidewaiter.KindOf(err) == tidewaiter.NotFound && p.position > 0 {
			return 0, io.EOF
		}
		if err != nil {
			return 0, err
		}
		if len(piece) == 0 {
			return 0, io.EOF
		}
		p.rest = piece
		p.position++
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// fetchFile gets a file from the database.
func (s *Service) fetchFile(ctx context.Context, digest tidewaiter.Digest, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make the folder of advisories: %w", err)
	}
	got, kept, err := keep(filepath.Dir(path), fetchPattern, &pieces{ctx: ctx, s: s, digest: digest})
	if err != nil {
		return err
	}
	if got != digest {
		return errors.Join(tidewaiter.Errorf(tidewaiter.Conflict, "a file of advisories in the database is damaged; import the advisories again"), os.Remove(kept))
	}
	if kept == path {
		return nil
	}
	return os.Rename(kept, path)
}

// sourceFile returns the file that was kept of a source.
func (s *Service) sourceFile(ctx context.Context, digest tidewaiter.Digest) (string, error) {
	path := s.sourcePath(digest)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if s.store.Dialect() == "sqlite" {
		return "", tidewaiter.Errorf(tidewaiter.Conflict, "the file that was kept of a source is gone; import the source again, or forget it")
	}
	return path, s.fetchFile(ctx, digest, path)
}
