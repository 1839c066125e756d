package console

import (
	"context"
	"encoding/csv"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/hssapi"
)

// exportPage is how much of a list is asked for at once, and exportMost how much
// of it goes into a file: where the API's own lists end.
const (
	exportPage = 200
	exportMost = 2_000_000
)

// export returns the handler of a list as CSV (https://www.rfc-editor.org/rfc/rfc4180),
// with the filters of its page. rows calls write for each row, from an offset on,
// and returns how many there were.
func (c *console) export(name string, header []string, rows func(ctx context.Context, r *request, offset int, write func(...string)) (int, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		in, err := c.session(r)
		if err != nil {
			c.problem(w, r, nil, err)
			return
		}
		out := csv.NewWriter(w)
		out.UseCRLF = true
		write := func(cells ...string) {
			for i := range cells {
				cells[i] = cell(cells[i])
			}
			_ = out.Write(cells) // its error comes with Flush
		}
		for offset := 0; offset < exportMost; {
			var page [][]string
			n, err := rows(in.Context(), in, offset, func(cells ...string) { page = append(page, cells) })
			switch {
			case err != nil && offset == 0:
				c.problem(w, r, in, err)
				return
			case err != nil:
				c.log.ErrorContext(in.Context(), "an export broke off", "list", name, "error", err)
				panic(http.ErrAbortHandler) // so that nobody takes the part for the whole
			case offset == 0:
				w.Header().Set("Content-Type", "text/csv; charset=utf-8; header=present")
				w.Header().Set("Content-Disposition", `attachment; filename="`+name+"-"+time.Now().UTC().Format(time.DateOnly)+`.csv"`)
				write(header...)
			}
			for _, cells := range page {
				write(cells...)
			}
			if out.Flush(); out.Error() != nil || n < exportPage {
				return
			}
			offset += n
		}
	})
}

// cell keeps a spreadsheet from taking a text for a formula: names come from
// others (https://owasp.org/www-community/attacks/CSV_Injection).
func cell(text string) string {
	if text != "" && strings.ContainsRune("=+-@\t\r\n", rune(text[0])) {
		return "'" + text
	}
	return text
}

// exportQuery are the filters of the page, for a part of the list.
func (r *request) exportQuery(offset int, names ...string) url.Values {
	q := r.query(names...)
	q.Set("offset", strconv.Itoa(offset))
	q.Set("limit", strconv.Itoa(exportPage))
	return q
}

func (c *console) exportImages() http.Handler {
	header := []string{"registry", "namespace", "image", "tag", "digest", "scan_status", "scan_failed_code", "risk", "vulnerabilities", "size", "scanned", "pushed"}
	return c.export("images", header, func(ctx context.Context, r *request, offset int, write func(...string)) (int, error) {
		var found listOf[hssapi.RegistryImagesInfo]
		err := c.get(ctx, r, "/image/registries/images", r.exportQuery(offset, imageFilters()...), &found)
		for _, i := range found.DataList {
			vulnerabilities := strconv.Itoa(int(i.VulNum))
			if i.SeverityLevel == "" && i.VulNum == 0 {
				vulnerabilities = "" // which is not none
			}
			write(i.RegistryName, i.Namespace, i.ImageName, i.ImageVersion, i.ImageDigest, i.ScanStatus, i.ScanFailedCode, i.SeverityLevel, vulnerabilities,
				strconv.FormatInt(i.ImageSize, 10), exportTime(i.LatestScanTime), exportTime(i.LatestUpdateTime))
		}
		return len(found.DataList), err
	})
}

func (c *console) exportVulnerabilities() http.Handler {
	header := []string{"vulnerability", "type", "severity", "cvss", "images", "labels", "first_found", "description"}
	return c.export("vulnerabilities", header, func(ctx context.Context, r *request, offset int, write func(...string)) (int, error) {
		q, _ := vulnerabilityQuery(r)
		q.Set("offset", strconv.Itoa(offset))
		q.Set("limit", strconv.Itoa(exportPage))
		var found listOf[hssapi.GeneralImageVulsResponseInfo]
		err := c.get(ctx, r, "/images/vulnerabilities", q, &found)
		for _, v := range found.DataList {
			write(v.VulID, v.Type, v.SeverityLevel, strconv.FormatFloat(float64(v.MaxCvssScore), 'f', 1, 32), strconv.Itoa(int(v.ImageNum)),
				strings.Join(v.LabelList, " "), exportTime(v.ScanTime), v.Description)
		}
		return len(found.DataList), err
	})
}

// exportTime writes milliseconds as RFC 3339, 0 as nothing.
func exportTime(ms int64) string {
	if ms == 0 {
		return ""
	}
	return time.UnixMilli(ms).UTC().Format(time.RFC3339)
}
