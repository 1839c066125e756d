package pull

import (
	"context"
	"os"

	"github.com/tidewaiter/tidewaiter"
)

// openFolder finds images in a folder.
func openFolder(ctx context.Context, name string, o Options) (*Source, error) {
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, tidewaiter.Wrap(tidewaiter.Invalid, err, "the folder cannot be read")
	}
	return openFiles(ctx, folder{root}, o)
}

// openArchive finds images in a tar archive.
func openArchive(ctx context.Context, name string, o Options) (*Source, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, tidewaiter.Wrap(tidewaiter.Invalid, err, "the file cannot be read")
	}
	a, err := newArchive(ctx, file, file)
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	a.close = file.Close
	return openFiles(ctx, a, o)
}

// openFiles finds images among files, as the form says in which they are there.
// Since docker 25, an archive of docker save has both forms.
func openFiles(ctx context.Context, f files, o Options) (_ *Source, err error) {
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	index, err := has(f, "index.json")
	if err != nil {
		return nil, err
	}
	manifest, err := has(f, "manifest.json")
	if err != nil {
		return nil, err
	}
	s := &Source{close: f.Close}
	switch {
	case index:
		s.Kind = "oci-layout"
		l := layout{f}
		if manifest {
			if err := l.agree(ctx); err != nil {
				return nil, err
			}
		}
		s.Images, s.Others, err = o.fromLayout(ctx, l)
	case manifest:
		s.Kind = "docker-archive"
		s.Images, err = o.fromDocker(f)
	default:
		if old, _ := has(f, "repositories"); old {
			return nil, invalid("it is an archive of a docker before 1.10, whose images name no layers by digest; load it, and save it again")
		}
		return nil, invalid("it holds neither index.json, as an OCI layout does, nor manifest.json, as an archive of docker save does")
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}
