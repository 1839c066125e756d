package main

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// A selfCheck looks at what the container gives the program. Its fields are
// the container, so that a test can be one.
type selfCheck struct {
	root     fs.FS                   // the file system from /
	getenv   func(key string) string // the environment
	writable func(dir string) bool   // whether a file can be created in dir
}

// report writes what it finds, one fact a line. The error says why the
// container is not usable.
func (c selfCheck) report(out *bytes.Buffer) error {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(out, "%-18s %s\n", name+":", fmt.Sprintf(format, args...))
	}
	fmt.Fprintln(out, versionLine())
	line("platform", "%s/%s", runtime.GOOS, runtime.GOARCH)
	line("user", "uid %d, gid %d", os.Getuid(), os.Getgid())

	bundleName, roots, caErr := c.roots()
	line("CA bundle", "%s, %d roots", bundleName, roots)
	if dirs := c.writableDirs(); len(dirs) > 0 {
		line("writable folders", "%s", strings.Join(dirs, " "))
	} else {
		line("writable folders", "none")
	}
	line("state folder", "%s", c.state(cmp.Or(c.getenv("TIDEWAITER_STATE"), defaultState)))
	if limit := c.memoryLimit(); limit > 0 {
		line("memory limit", "%d MiB (%d bytes)", limit>>20, limit)
	} else {
		line("memory limit", "none")
	}
	line("GOMEMLIMIT", "%s", cmp.Or(c.getenv("GOMEMLIMIT"), "not set"))

	if caErr != nil {
		return fmt.Errorf("not usable: %w", caErr)
	}
	fmt.Fprintln(out, "usable")
	return nil
}

// defaultBundle is where the image has its CA certificates.
const defaultBundle = "/etc/ssl/certs/ca-certificates.crt"

// roots returns the CA bundle that TLS connections are checked with and the
// number of certificates in it. Without a file, those built into the program
// count. It fails where a file is there, or is named by SSL_CERT_FILE, and
// holds no certificate: every connection would fail later, and less clearly.
func (c selfCheck) roots() (name string, n int, err error) {
	file := c.getenv("SSL_CERT_FILE")
	named := file != ""
	file = cmp.Or(file, defaultBundle)
	text, err := fs.ReadFile(c.root, strings.TrimPrefix(path.Clean(file), "/"))
	if errors.Is(err, fs.ErrNotExist) && !named {
		for range bundle.Roots() {
			n++
		}
		return "built in", n, nil
	}
	if err != nil {
		return file, 0, fmt.Errorf("the CA bundle %s cannot be read: mount it readable for uid %d", file, os.Getuid())
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if _, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" {
			n++
		}
	}
	if n == 0 {
		return file, 0, fmt.Errorf("the CA bundle %s holds no PEM certificate", file)
	}
	return file, n, nil
}

// writableDirs returns the folders that files can be created in, of those
// where it could be possible: mount points, and the folders at the top.
func (c selfCheck) writableDirs() []string {
	dirs := []string{"/"}
	if top, err := fs.ReadDir(c.root, "."); err == nil {
		for _, e := range top {
			if e.IsDir() {
				dirs = append(dirs, "/"+e.Name())
			}
		}
	}
	mounts, _ := fs.ReadFile(c.root, "proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		// proc_pid_mountinfo(5): the fifth field is the mount point, with
		// \040 for a space and so on.
		if f := strings.Fields(line); len(f) > 4 {
			dirs = append(dirs, unescapeMount(f[4]))
		}
	}
	slices.Sort(dirs)
	dirs = slices.Compact(dirs)
	return slices.DeleteFunc(dirs, func(dir string) bool {
		return dir == "/proc" || strings.HasPrefix(dir, "/proc/") ||
			dir == "/sys" || strings.HasPrefix(dir, "/sys/") || !c.writable(dir)
	})
}

// state says whether the state folder can be used.
func (c selfCheck) state(dir string) string {
	switch info, err := fs.Stat(c.root, strings.TrimPrefix(path.Clean(dir), "/")); {
	case err != nil && c.writable(path.Dir(dir)):
		return dir + ", not there yet"
	case err != nil || !info.IsDir():
		return dir + ", not there: mount a volume before you use run"
	case !c.writable(dir):
		return fmt.Sprintf("%s, not writable for uid %d: mount a volume before you use run", dir, os.Getuid())
	case !c.lasting(dir):
		return dir + ", writable, and goes with the container: mount a volume before you use run"
	}
	return dir + ", writable"
}

// lasting tells whether what is written to a folder outlives the container: it
// is not on the overlay that containers have as their root.
func (c selfCheck) lasting(dir string) bool {
	mounts, _ := fs.ReadFile(c.root, "proc/self/mountinfo")
	longest, overlay := "", false
	for line := range strings.Lines(string(mounts)) {
		mount, source, _ := strings.Cut(line, " - ") // proc_pid_mountinfo(5): then the file system's type
		f := strings.Fields(mount)
		if len(f) < 5 {
			continue
		}
		point := unescapeMount(f[4])
		within := point == "/" || dir == point || strings.HasPrefix(dir, point+"/")
		if within && len(point) >= len(longest) {
			longest, overlay = point, strings.Contains(strings.Fields(source + " ?")[0], "overlay")
		}
	}
	return !overlay
}

func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// canWrite asks the kernel, since permission bits say nothing of read-only
// mounts. It creates nothing.
func canWrite(dir string) bool {
	const writeAndSearch = 2 | 1 // access(2): W_OK and X_OK
	return syscall.Access(dir, writeAndSearch) == nil
}

// unlimited is where cgroup v1 begins to mean "no limit": it says 2^63-1
// rounded down to a page.
const unlimited = 1 << 62

// memoryLimit returns the smallest cgroup memory limit in bytes, or 0.
func (c selfCheck) memoryLimit() int64 {
	var least int64
	consider := func(file string) {
		text, err := fs.ReadFile(c.root, file)
		if err != nil {
			return
		}
		n, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64) // "max" is no number
		if err == nil && n > 0 && n < unlimited && (least == 0 || n < least) {
			least = n
		}
	}
	groups, _ := fs.ReadFile(c.root, "proc/self/cgroup")
	for line := range strings.Lines(string(groups)) {
		// cgroups(7): id:controllers:path, and 0::path in version 2. The
		// path may be the host's, and then only its end exists in here:
		// every folder up to the top is looked at, the tightest limit holds.
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		for dir := path.Clean("/" + f[2]); ; dir = path.Dir(dir) {
			switch {
			case f[0] == "0" && f[1] == "":
				consider(path.Join("sys/fs/cgroup", dir, "memory.max"))
			case slices.Contains(strings.Split(f[1], ","), "memory"):
				consider(path.Join("sys/fs/cgroup/memory", dir, "memory.limit_in_bytes"))
			}
			if dir == "/" {
				break
			}
		}
	}
	return least
}
