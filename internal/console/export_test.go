package console

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"
)

func TestCell(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "app": "app", "=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@SUM(1)": "'@SUM(1)", "\t=1": "'\t=1", "\r=1": "'\r=1", "a=1": "a=1", "漏洞": "漏洞",
	} {
		if got := cell(in); got != want {
			t.Errorf("%q: got %q", in, got)
		}
	}
}

// FuzzCell finds no cell that a spreadsheet would run, and none that is not read
// back as it was written.
func FuzzCell(f *testing.F) {
	f.Add("=cmd|' /C calc'!A0")
	f.Add("a\"b,c\nd")
	f.Fuzz(func(t *testing.T, in string) {
		out := cell(in)
		if out != "" && strings.ContainsRune("=+-@\t\r\n", rune(out[0])) || strings.TrimPrefix(out, "'") != in && out != in {
			t.Errorf("%q became %q", in, out)
		}
		if strings.Contains(in, "\r") {
			return // which the reader takes for a part of the end of a line
		}
		var b bytes.Buffer
		w := csv.NewWriter(&b)
		if err := w.Write([]string{"x", out}); err != nil {
			t.Fatal(err)
		}
		w.Flush()
		rows, err := csv.NewReader(&b).ReadAll()
		if err != nil || len(rows) != 1 || rows[0][1] != out {
			t.Errorf("%q is read back as %q, %v", out, rows, err)
		}
	})
}
