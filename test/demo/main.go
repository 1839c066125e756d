// Demo shows Tidewaiter at work: it starts a throw-away registry and the server,
// pushes two images that are made on the spot, puts the scan component into the
// registry, connects it, scans, and leaves the console open with what was found.
// `make demo` runs it. It needs the Go toolchain and nothing else.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// folder is where the demo keeps its server's data. Each run starts anew.
const folder = "tidewaiter-demo"

func run(ctx context.Context) error {
	program, err := filepath.Abs("bin/tidewaiter")
	if err != nil {
		return err
	}
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	start := time.Now()
	say := func(format string, args ...any) {
		fmt.Printf("%5.1f s  %s\n", time.Since(start).Seconds(), fmt.Sprintf(format, args...))
	}

	registry, err := startRegistry()
	if err != nil {
		return err
	}
	defer registry.close()
	say("a registry listens on %s; its user is %s", registry.address, registry.user)
	for _, p := range programs() {
		if err := registry.pushProgram(ctx, p); err != nil {
			return fmt.Errorf("image %s: %w", p.repository, err)
		}
		say("pushed %s:%s, a program with %s", p.repository, p.tag, p.requires)
	}

	s, err := startServer(ctx, program)
	if err != nil {
		return err
	}
	defer s.stop()
	say("the server is ready at %s", s.Endpoint)
	if err := s.command(ctx, "", "advisories", "import", "test/demo/advisories"); err != nil {
		return err
	}
	say("read the advisories of test/demo/advisories")
	if err := s.command(ctx, registry.password, "component", "push", "--registry", "http://"+registry.address,
		"--namespace", "tools", "--username", registry.user, "--password-stdin"); err != nil {
		return err
	}
	say("put the scan component into the registry")
	if err := s.signIn(ctx); err != nil {
		return err
	}
	if err := s.connect(ctx, registry); err != nil {
		return err
	}
	say("connected the registry, and listed its images")
	if err := s.scan(ctx); err != nil {
		return err
	}
	say("scanned them")
	found, err := s.vulnerabilities(ctx)
	if err != nil {
		return err
	}
	fmt.Println()
	for _, v := range found {
		fmt.Printf("  %-16s %-9s in %d images  %s\n", v.ID, v.Severity, v.Images, v.Description)
	}
	fmt.Printf("\nThe console is open at %s\n\n  account %s   user %s   password %s\n\nCtrl-C ends the demo; its data is in %s.\n",
		s.Endpoint, s.Domain, s.User, s.Password, folder)
	if os.Getenv("TIDEWAITER_DEMO_ONCE") != "" {
		return nil
	}
	<-ctx.Done()
	return nil
}
