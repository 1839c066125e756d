package component

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// The OCI endpoint follows
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md.

// A route is a request path of the distribution API, taken apart.
type route struct {
	kind      routeKind
	name      string // of the repository
	reference string // a tag or a digest, unchecked
}

type routeKind int

const (
	noRoute routeKind = iota
	baseRoute
	catalogRoute
	tagsRoute
	manifestRoute
	blobRoute
	referrersRoute
)

// parseRoute takes a path apart from its end, since a repository's name has
// any number of components, and they may be called "blobs" too.
func parseRoute(path string) route {
	path, ok := strings.CutPrefix(path, "/v2")
	switch {
	case !ok:
		return route{}
	case path == "" || path == "/":
		return route{kind: baseRoute}
	case path == "/_catalog":
		return route{kind: catalogRoute}
	case path[0] != '/':
		return route{}
	}
	rest, last, _ := cutLast(path[1:])
	name, kind, ok := cutLast(rest)
	if !ok || name == "" || last == "" {
		return route{}
	}
	switch {
	case kind == "tags" && last == "list":
		return route{kind: tagsRoute, name: name}
	case kind == "manifests":
		return route{kind: manifestRoute, name: name, reference: last}
	case kind == "blobs":
		return route{kind: blobRoute, name: name, reference: last}
	case kind == "referrers":
		return route{kind: referrersRoute, name: name, reference: last}
	}
	return route{}
}

// cutLast cuts around the last slash.
func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+1:], true
}

func (h *handler) serveRegistry(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Docker-Distribution-API-Version", "registry/2.0")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		registryError(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "this registry is read-only")
		return
	}
	to := parseRoute(r.URL.Path)
	switch to.kind {
	case noRoute:
		registryError(w, http.StatusNotFound, "NAME_UNKNOWN", "there is nothing at this path")
		return
	case baseRoute:
		writeJSON(w, http.StatusOK, "application/json", struct{}{})
		return
	case catalogRoute:
		h.servePage(w, r, "repositories", []string{Repository}, nil)
		return
	}
	if to.name != Repository {
		registryError(w, http.StatusNotFound, "NAME_UNKNOWN", "this registry has one repository: "+Repository)
		return
	}
	if to.kind == tagsRoute {
		h.servePage(w, r, "tags", h.repository.tagNames(), map[string]any{"name": Repository})
		return
	}
	digest, err := parseDigest(to.reference)
	// A manifest may also be named by a tag, and no tag has a colon.
	byTag := to.kind == manifestRoute && !strings.Contains(to.reference, ":")
	if err != nil && !byTag {
		registryError(w, http.StatusBadRequest, "DIGEST_INVALID", err.Error())
		return
	}
	switch to.kind {
	case manifestRoute:
		manifest, ok := h.repository.manifest(to.reference)
		if !ok {
			registryError(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "there is no such manifest; the current version is "+h.bundle.version)
			return
		}
		h.serveBlob(w, r, manifest, string(manifest.mediaType), byTag)
	case blobRoute:
		blob, ok := h.repository.blobs[digest]
		if !ok {
			registryError(w, http.StatusNotFound, "BLOB_UNKNOWN", "there is no such blob")
			return
		}
		h.serveBlob(w, r, blob, "application/octet-stream", false)
	case referrersRoute:
		// Signatures are found by tag; nothing here has a subject.
		writeJSON(w, http.StatusOK, string(types.OCIImageIndex),
			v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{}})
	}
}

// serveBlob serves a manifest or a blob. What is named by its digest never
// changes; what is named by a tag may.
func (h *handler) serveBlob(w http.ResponseWriter, r *http.Request, b blob, mediaType string, byTag bool) {
	reader, err := b.open()
	if err != nil {
		h.log.ErrorContext(r.Context(), "read scan component blob", "digest", b.digest.String(), "error", err)
		registryError(w, http.StatusInternalServerError, "UNKNOWN", "the content cannot be read; the server's log says why")
		return
	}
	cache := "public, max-age=31536000, immutable"
	if byTag {
		cache = "public, no-cache"
	}
	w.Header().Set("Docker-Content-Digest", b.digest.String())
	serveContent(w, r, content{
		mediaType: mediaType, etag: b.digest.String(), cache: cache,
		modTime: h.bundle.modTime(), reader: reader,
	})
}

// servePage answers with the part of a sorted list that n and last select,
// and with a link to the next part if there is one.
func (h *handler) servePage(w http.ResponseWriter, r *http.Request, field string, list []string, body map[string]any) {
	query := r.URL.Query()
	if last := query.Get("last"); last != "" {
		i, found := slices.BinarySearch(list, last)
		if found {
			i++
		}
		list = list[i:]
	}
	if query.Has("n") {
		n, err := strconv.Atoi(query.Get("n"))
		if err != nil || n < 0 {
			registryError(w, http.StatusBadRequest, "PAGINATION_NUMBER_INVALID", "n must be a number, 0 or more")
			return
		}
		if n < len(list) {
			list = list[:n]
			if n > 0 {
				next := url.Values{"n": {strconv.Itoa(n)}, "last": {list[n-1]}}
				w.Header().Set("Link", fmt.Sprintf(`<%s?%s>; rel="next"`, r.URL.EscapedPath(), next.Encode()))
			}
		}
	}
	if body == nil {
		body = map[string]any{}
	}
	body[field] = list
	writeJSON(w, http.StatusOK, "application/json", body)
}

// registryError answers in the form of the distribution specification. The
// message never repeats what the caller sent.
func registryError(w http.ResponseWriter, status int, code, message string) {
	type failure struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Detail  any    `json:"detail"`
	}
	w.Header().Set("Cache-Control", "no-cache")
	writeJSON(w, status, "application/json", map[string][]failure{"errors": {{Code: code, Message: message}}})
}

// writeJSON answers with a whole body and its length; to HEAD, net/http sends
// the headers alone.
func writeJSON(w http.ResponseWriter, status int, mediaType string, body any) {
	text, err := json.Marshal(body)
	if err != nil { // no body here can fail to marshal
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text) // a caller who left cannot be told
}
