package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/spf13/cobra"
)

// show prints values as the command's --output asks: a table with a line for
// each, or JSON.
func show[T any](cmd *cobra.Command, values []T, header string, row func(T) []any) error {
	w := cmd.OutOrStdout()
	if cmd.Flags().Lookup("output").Value.String() == "json" {
		return writeJSON(w, values)
	}
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, strings.ReplaceAll(header, " ", "\t"))
	for _, v := range values {
		for i, cell := range row(v) {
			if i > 0 {
				fmt.Fprint(tw, "\t")
			}
			fmt.Fprint(tw, printable(fmt.Sprint(cell)))
		}
		fmt.Fprintln(tw)
	}
	return tw.Flush()
}

// showOne prints one value: a line for each field, or JSON.
func showOne(cmd *cobra.Command, value any, fields ...string) error {
	w := cmd.OutOrStdout()
	if cmd.Flags().Lookup("output").Value.String() == "json" {
		return writeJSON(w, value)
	}
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for i := 0; i+1 < len(fields); i += 2 {
		fmt.Fprintf(tw, "%s\t%s\n", fields[i], printable(fields[i+1]))
	}
	return tw.Flush()
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// printable replaces what would move a terminal's cursor or turn its text
// around: names come from others.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
