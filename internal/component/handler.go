package component

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"
)

// A handler serves the distribution paths. See [NewHandler].
type handler struct {
	bundle     *Bundle
	repository *repository
	public     []byte                    // cosign.pub
	download   func() (*download, error) // made when it is first asked for
	log        *slog.Logger
}

// NewHandler returns the public, read-only side of the component. It answers
// GET and HEAD, without credentials, on
//
//	/components/scan-component-VERSION.zip
//	/components/SHA256SUMS, /components/SHA256SUMS.sig
//	/components/cosign.pub
//	/v2/...: the OCI distribution API, for the repository [Repository]
//
// and 404 on everything else below /components/ and /v2/. All files and blobs
// have a strong ETag and can be had in ranges.
func NewHandler(b *Bundle, key *SigningKey, log *slog.Logger) (http.Handler, error) {
	repository, err := newRepository(b, key)
	if err != nil {
		return nil, err
	}
	public, err := key.PublicPEM()
	if err != nil {
		return nil, err
	}
	return &handler{
		bundle:     b,
		repository: repository,
		public:     public,
		download:   sync.OnceValues(func() (*download, error) { return newDownload(b, key) }),
		log:        log,
	}, nil
}

// ZipPath is the path of the zip on a server: "/components/" and the name.
func (b *Bundle) ZipPath() string { return "/components/" + b.ZipName() }

// ServeHTTP implements [http.Handler].
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.URL.Path == "/v2" || strings.HasPrefix(r.URL.Path, "/v2/") {
		h.serveRegistry(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD are answered here", http.StatusMethodNotAllowed)
		return
	}
	switch r.URL.Path {
	case "/components/cosign.pub":
		h.serveText(w, r, "application/x-pem-file", h.public)
	case h.bundle.ZipPath(), "/components/SHA256SUMS", "/components/SHA256SUMS.sig":
		h.serveDownload(w, r)
	default:
		http.Error(w, "there is no such file; the scan component is at "+h.bundle.ZipPath(), http.StatusNotFound)
	}
}

// serveDownload serves the zip and the files about it.
func (h *handler) serveDownload(w http.ResponseWriter, r *http.Request) {
	d, err := h.download()
	if err != nil {
		h.log.ErrorContext(r.Context(), "make scan component download", "error", err)
		http.Error(w, "the download cannot be made; the server's log says why", http.StatusInternalServerError)
		return
	}
	switch r.URL.Path {
	case h.bundle.ZipPath():
		w.Header().Set("Content-Disposition", `attachment; filename="`+h.bundle.ZipName()+`"`)
		// Not immutable: the zip of one version differs between servers,
		// and on one server after its key was replaced.
		serveContent(w, r, content{
			mediaType: "application/zip", etag: d.zipDigest.Hex, cache: "public, no-cache",
			modTime: h.bundle.modTime(), reader: d.zip.reader(),
		})
	case "/components/SHA256SUMS":
		h.serveText(w, r, "text/plain; charset=utf-8", d.sums)
	default:
		h.serveText(w, r, "text/plain; charset=utf-8", d.sumsSig)
	}
}

func (h *handler) serveText(w http.ResponseWriter, r *http.Request, mediaType string, text []byte) {
	serveContent(w, r, content{
		mediaType: mediaType, etag: newMemoryBlob("", text).digest.Hex, cache: "public, no-cache",
		modTime: h.bundle.modTime(), reader: bytes.NewReader(text),
	})
}

// content is what [http.ServeContent] needs to know.
type content struct {
	mediaType, etag, cache string
	modTime                time.Time
	reader                 io.ReadSeeker
}

// serveContent answers with content, a range of it, its headers, or 304.
func serveContent(w http.ResponseWriter, r *http.Request, c content) {
	w.Header().Set("Content-Type", c.mediaType)
	w.Header().Set("ETag", `"`+c.etag+`"`)
	w.Header().Set("Cache-Control", c.cache)
	http.ServeContent(w, r, "", c.modTime, c.reader)
}
