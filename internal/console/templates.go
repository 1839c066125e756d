package console

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"strings"
	"time"
)

//go:embed templates
var templateFiles embed.FS

// titles are the titles of the pages, by template.
var titles = map[string]string{ //nolint:gochecknoglobals // a table, never changed
	"overview": "Overview", "registries": "Registries", "registry": "Registry", "connect": "Connect a registry",
	"upload-command": "Upload command", "images": "Images", "image": "Image", "vulnerabilities": "Vulnerabilities",
	"vulnerability": "Vulnerability", "docs": "Operations", "users": "Users and access keys", "tasks": "Tasks", "clusters": "Clusters", "advisories": "Advisories",
}

// live are the pages that send a part of themselves anew.
var live = map[string]bool{"overview": true, "registries": true, "registry": true, "tasks": true, "clusters": true} //nolint:gochecknoglobals // as above

// templates are one set for each page: the page defines what the layout and the
// shared parts leave open.
type templates struct{ sets map[string]*template.Template }

func parseTemplates() (*templates, error) {
	functions := template.FuncMap{
		"asset": assetURL, "time": clock, "when": when, "size": size, "size32": func(bytes int32) string { return size(int64(bytes)) }, "short": short, "percent": percent,
		"lower": strings.ToLower, "words": func(s string) string { return strings.ReplaceAll(s, "_", " ") }, "list": func(values ...any) []any { return values },
	}
	files, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		return nil, err
	}
	t := &templates{map[string]*template.Template{}}
	for _, f := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(f, "templates/"), ".html")
		if name == "layout" || name == "parts" {
			continue
		}
		t.sets[name], err = template.New(name).Funcs(functions).Option("missingkey=error").
			ParseFS(templateFiles, "templates/layout.html", "templates/parts.html", f)
		if err != nil {
			return nil, fmt.Errorf("template %s: %w", name, err)
		}
	}
	return t, nil
}

// execute writes a block of a page's template.
func (t *templates) execute(w io.Writer, name, block string, p *page) error {
	set, ok := t.sets[name]
	if !ok {
		return fmt.Errorf("there is no template %q", name)
	}
	return set.ExecuteTemplate(w, block, p)
}

// clock returns a time in milliseconds as text for people, in UTC.
func clock(ms int64) string {
	if ms <= 0 { // a zero time.Time is long before 1970
		return "–"
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04 UTC")
}

// when returns a time of RFC 3339 as clock does.
func when(text string) string {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return "–"
	}
	return clock(t.UnixMilli())
}

// size returns bytes in the unit that people read.
func size(n int64) string {
	const unit = 1000
	v, units := float64(n), []string{"B", "kB", "MB", "GB", "TB"}
	i := 0
	for ; v >= unit && i < len(units)-1; i++ {
		v /= unit
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}

// short returns the first digits of a digest.
func short(digest string) string {
	digest = strings.TrimPrefix(digest, "sha256:")
	if len(digest) > 12 {
		return digest[:12]
	}
	return digest
}

// percent returns a part of a whole in percent, rounded down, so that 100 is
// all of it.
func percent(part, whole int32) int {
	if whole <= 0 {
		return 0
	}
	return int(int64(part) * 100 / int64(whole))
}
