package uploadcmd

import (
	"fmt"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// evaluator runs a command on paper: it walks the syntax tree that a shell
// parser made of it, knows only the few constructs that our commands consist
// of, and refuses every other. A value that slipped out of its quotes would
// show as a construct that does not belong there.
type evaluator struct {
	source string
	vars   map[string]string
	quotes bool // whether _q is defined
	calls  []call
}

// evaluate returns the runs of docker that a command leads to.
func evaluate(parser *syntax.Parser, command string) (calls []call, err error) {
	file, err := parser.Parse(strings.NewReader(command), "")
	if err != nil {
		return nil, err
	}
	e := &evaluator{source: command, vars: map[string]string{}}
	if len(file.Stmts) != 1 || len(file.Last) != 0 {
		return nil, fmt.Errorf("%d statements and %d comments, want one statement", len(file.Stmts), len(file.Last))
	}
	return e.calls, e.statement(file.Stmts[0], &e.calls)
}

func (e *evaluator) statement(s *syntax.Stmt, calls *[]call) error {
	if s.Negated || s.Background || s.Coprocess || s.Disown || len(s.Redirs) > 0 || len(s.Comments) > 0 {
		return fmt.Errorf("statement at %s is more than a command", s.Pos())
	}
	switch c := s.Cmd.(type) {
	case *syntax.BinaryCmd:
		switch c.Op {
		case syntax.AndStmt:
			if err := e.statement(c.X, calls); err != nil {
				return err
			}
			return e.statement(c.Y, calls)
		case syntax.Pipe:
			return e.pipe(c, calls)
		}
		return fmt.Errorf("operator %s", c.Op)
	case *syntax.Subshell:
		if len(c.Stmts) != 2 || len(c.Last) != 0 {
			return fmt.Errorf("%d statements in parentheses, want two", len(c.Stmts))
		}
		function, ok := c.Stmts[0].Cmd.(*syntax.FuncDecl)
		if !ok || e.source[function.Pos().Offset():function.End().Offset()] != restoreQuotes {
			return fmt.Errorf("%T in place of the function", c.Stmts[0].Cmd)
		}
		e.quotes = true
		return e.statement(c.Stmts[1], calls)
	case *syntax.CallExpr:
		return e.simple(c, calls)
	}
	return fmt.Errorf("%T", s.Cmd)
}

// simple runs assignments, or docker.
func (e *evaluator) simple(c *syntax.CallExpr, calls *[]call) error {
	if len(c.Args) > 0 {
		args, err := e.words(c.Args)
		if err != nil {
			return err
		}
		if len(c.Assigns) > 0 || args[0] != "docker" {
			return fmt.Errorf("runs %q", args)
		}
		*calls = append(*calls, call{Args: args[1:]})
		return nil
	}
	for _, a := range c.Assigns {
		if a.Append || a.Naked || a.Index != nil || a.Array != nil || a.Value == nil {
			return fmt.Errorf("assignment at %s", a.Pos())
		}
		value, err := e.word(a.Value)
		if err != nil {
			return err
		}
		e.vars[a.Name.Value] = value
	}
	return nil
}

// pipe runs "printf %s VALUE | docker …" and "_q MARKER VALUE | docker …".
func (e *evaluator) pipe(c *syntax.BinaryCmd, calls *[]call) error {
	left, ok := c.X.Cmd.(*syntax.CallExpr)
	if !ok || len(left.Assigns) > 0 || len(c.X.Redirs) > 0 {
		return fmt.Errorf("pipe from %T", c.X.Cmd)
	}
	args, err := e.words(left.Args)
	if err != nil {
		return err
	}
	text, err := e.printed(args)
	if err != nil {
		return err
	}
	if err := e.statement(c.Y, calls); err != nil {
		return err
	}
	(*calls)[len(*calls)-1].Stdin = text
	return nil
}

// printed returns what a command prints that is no program.
func (e *evaluator) printed(args []string) (string, error) {
	switch {
	case len(args) == 3 && args[0] == "printf" && args[1] == "%s":
		return args[2], nil
	case len(args) == 3 && args[0] == "_q" && e.quotes && args[1] != "":
		return strings.ReplaceAll(args[2], args[1], "'"), nil
	}
	return "", fmt.Errorf("prints by %q", args)
}

func (e *evaluator) words(ws []*syntax.Word) ([]string, error) {
	out := make([]string, len(ws))
	for i, w := range ws {
		var err error
		if out[i], err = e.word(w); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (e *evaluator) word(w *syntax.Word) (string, error) {
	var b strings.Builder
	for _, part := range w.Parts {
		switch p := part.(type) {
		case *syntax.Lit:
			s := strings.ReplaceAll(p.Value, `\'`, "")
			if !isBare(s) && !isMarker(s) {
				return "", fmt.Errorf("bare %q", p.Value)
			}
			b.WriteString(strings.ReplaceAll(p.Value, `\'`, "'"))
		case *syntax.SglQuoted:
			if p.Dollar {
				return "", fmt.Errorf("dollar quotes at %s", p.Pos())
			}
			b.WriteString(p.Value)
		case *syntax.DblQuoted:
			if err := e.doubleQuoted(&b, p); err != nil {
				return "", err
			}
		case *syntax.CmdSubst:
			text, err := e.substituted(p)
			if err != nil {
				return "", err
			}
			b.WriteString(text)
		default:
			return "", fmt.Errorf("word of %T", part)
		}
	}
	return b.String(), nil
}

func (e *evaluator) doubleQuoted(b *strings.Builder, q *syntax.DblQuoted) error {
	if q.Dollar {
		return fmt.Errorf("dollar quotes at %s", q.Pos())
	}
	for _, part := range q.Parts {
		switch p := part.(type) {
		case *syntax.Lit:
			if strings.ContainsAny(p.Value, "\\!`$\"") {
				return fmt.Errorf("%q in double quotes", p.Value)
			}
			b.WriteString(p.Value)
		case *syntax.ParamExp:
			value, ok := e.vars[p.Param.Value]
			if !p.Short || !ok || p.Index != nil {
				return fmt.Errorf("expansion of %s", p.Param.Value)
			}
			b.WriteString(value)
		default:
			return fmt.Errorf("%T in double quotes", part)
		}
	}
	return nil
}

// substituted returns the text of $(_q MARKER VALUE).
func (e *evaluator) substituted(s *syntax.CmdSubst) (string, error) {
	if len(s.Stmts) != 1 || s.Backquotes || len(s.Stmts[0].Redirs) > 0 {
		return "", fmt.Errorf("substitution at %s", s.Pos())
	}
	c, ok := s.Stmts[0].Cmd.(*syntax.CallExpr)
	if !ok || len(c.Assigns) > 0 {
		return "", fmt.Errorf("substitution of %T", s.Stmts[0].Cmd)
	}
	args, err := e.words(c.Args)
	if err != nil {
		return "", err
	}
	return e.printed(args)
}

// isMarker tells whether s is one of the ideographs that serve as markers, the
// only characters outside ASCII that may stand without quotes.
func isMarker(s string) bool { return s >= "丐" && strings.Contains(markers, s) }
