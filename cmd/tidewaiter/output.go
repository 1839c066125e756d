package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

// show prints values as the command's --output asks: a table with a line for
// each, or JSON.
func show[T any](cmd *cobra.Command, values []T, header string, row func(T) []any) error {
	w := cmd.OutOrStdout()
	if values == nil {
		values = []T{} // an empty list, and not null
	}
	if done, err := writeAs(cmd, values); done {
		return err
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
	if done, err := writeAs(cmd, value); done {
		return err
	}
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for i := 0; i+1 < len(fields); i += 2 {
		fmt.Fprintf(tw, "%s\t%s\n", fields[i], printable(fields[i+1]))
	}
	return tw.Flush()
}

const outputUsage = "`format` of the output: table, json or yaml"

// writeAs writes a value in a form for programs, if --output asks for one.
func writeAs(cmd *cobra.Command, v any) (done bool, err error) {
	switch cmd.Flags().Lookup("output").Value.String() {
	case "json":
		return true, writeJSON(cmd.OutOrStdout(), v)
	case "yaml":
		return true, writeYAML(cmd.OutOrStdout(), v)
	}
	return false, nil
}

// writeYAML writes what writeJSON writes, with the same names in the same order.
func writeYAML(w io.Writer, v any) error {
	var text bytes.Buffer
	if err := writeJSON(&text, v); err != nil {
		return err
	}
	var node yaml.Node
	if err := yaml.Unmarshal(text.Bytes(), &node); err != nil { // JSON is YAML
		return fmt.Errorf("write YAML: %w", err)
	}
	plainStyle(&node)
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(&node); err != nil {
		return fmt.Errorf("write YAML: %w", err)
	}
	return enc.Close()
}

// plainStyle has YAML's own style in place of that of JSON, but for empty lists
// and objects, and for texts that some reader may take for something else: to
// YAML 1.1 the version 1:20 is a number, and yes is true.
func plainStyle(n *yaml.Node) {
	if len(n.Content) > 0 || n.Kind == yaml.ScalarNode && !needsQuotes(n) {
		n.Style = 0
	}
	for _, child := range n.Content {
		plainStyle(child)
	}
}

// needsQuotes tells texts that the encoder quotes where it knows them for texts.
func needsQuotes(n *yaml.Node) bool {
	if n.Tag != "!!str" {
		return false
	}
	text, err := yaml.Marshal(n.Value)
	return err != nil || bytes.HasPrefix(text, []byte(`"`))
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// printable replaces what would move a terminal's cursor, turn its text around, or
// not be seen: names come from others.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
