//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/hss/v5/model"
	"golang.org/x/sys/unix"
	"mvdan.cc/sh/v3/syntax"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/docstest"
)

// What is at a terminal of README and docs is run as it stands there, in a network
// of its own in which the hosts that they name exist.

// docsPage is a page, and what its reader has at hand.
type docsPage struct {
	file string
	// public says that its commands work on https://tidewaiter.example.com, after
	// the login of docs/cli.md. Else they work on the data folder beside them, of the
	// server of README.
	public bool
}

// docsPages are in the order in which their commands are run.
func docsPages() []docsPage {
	return []docsPage{
		{"README.md", false}, {"docs/advisories.md", false}, {"docs/identity.md", false}, {"docs/scan.md", false},
		{"docs/cli.md", true}, {"docs/vulnerabilities.md", true}, {"docs/clusters.md", true}, {"docs/component.md", true},
		{"docs/how-to/air-gap.md", false}, {"docs/how-to/harbor.md", true}, {"docs/how-to/jfrog.md", true}, {"docs/how-to/plain-registry.md", true},
		{"docs/how-to/private-ca.md", true}, {"docs/how-to/proxy.md", true}, {"docs/how-to/swr.md", true},
		{"docs/configuration.md", false}, {"docs/how-to/postgresql.md", false}, {"CONTRIBUTING.md", false},
	}
}

// docsElsewhere are the commands that are not run here, by how they begin, and why.
var docsElsewhere = map[string]string{
	"make run":                              "startTidewaiter starts what it starts",
	"make test":                             "it runs this test",
	"make demo":                             "TestDemo runs it",
	"bin/tidewaiter serve":                  "as make run",
	"docker run -d --name NAME":             "docs/clusters.md has the line with all in it",
	"docker run … -v":                       "a part of the same line",
	"docker run -d -p 5000:5000 registry:2": "no public registry is at hand; a registry listens on port 5000 already",
	"cosign ":                               "it is no part of Debian; the line of openssl checks the same signature, and TestSignatures the image's",
	"git checkout REVISION":                 "TestReproducible makes it twice",
	`curl -X PATCH -H "X-Auth-Token: $TOKEN" -H 'Content-Type: application/json' -d @- "$SERVER/tidewaiter/v1/registries/$ID" <<'EOF'` + "\n" + `{"swr_access_key"`: "the reader has to fill in the values",
	"tidewaiter registry add swr":   "there is no SWR at hand, and the fake has no place in China; internal/registry/swr has tests with it",
	"createuser ":                   "PostgreSQL listens on no address here; TestPostgresRestartedInMidScan starts a server on it",
	"createdb ":                     "as above",
	"export ":                       "as above",
	"tidewaiter serve ":             "as above",
	"test/with-postgres.sh go test": "make test runs all tests in it",
}

// docsBefore are what a reader would do before a command, which the page says in
// words or takes for granted.
var docsBefore = map[string]string{
	"curl -sS -K - \"http://127.0.0.1:8080/v5/$PROJECT/image/registries\"":       "bin/tidewaiter registry rm mine",
	"curl -sS -K - \"http://127.0.0.1:8080/v5/$PROJECT/image/image-scan/tasks\"": "until bin/tidewaiter image list | grep -q library/app; do sleep 0.2; done", // "as soon as they have been synchronised"
	"tidewaiter registry add harbor":                                             "tidewaiter registry rm harbor || true",
	"tidewaiter registry add mine":                                               "tidewaiter registry rm mine || true",
	"sha256sum -c":                                                               "curl -sSO https://SERVER/components/scan-component-VERSION.zip && unzip -qo scan-component-VERSION.zip",
}

// docsStatus are the exit statuses that a page promises, other than 0.
var docsStatus = map[string]int{"tidewaiter scan app.tar --fail-on high --only-fixed": 4}

func TestDocs(t *testing.T) {
	need(t, "/usr/bin/unshare", "/usr/sbin/ip", "/usr/bin/jq", "/usr/bin/skopeo")
	var hosts strings.Builder
	for name, addr := range docsHosts {
		fmt.Fprintln(&hosts, addr, name)
	}
	file := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(file, []byte(hosts.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := command([]string{docsHostsFile + "=" + file}, "/usr/bin/unshare", "--net", "--mount", "/bin/sh", "-e", "-c",
		`ip link set lo up; mount --bind "$`+docsHostsFile+`" /etc/hosts; mount -t tmpfs none `+docsFolder+`; exec "$0" "$@"`,
		self, "-test.run=^TestDocsInTheirNetwork$", "-test.v")
	said, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(said, []byte("--- PASS: TestDocsInTheirNetwork")) {
		t.Fatalf("%v\n%s", err, said)
	}
	t.Logf("%s", said)
}

// docsHostsFile names the file with the addresses of the network.
const docsHostsFile = "TIDEWAITER_E2E_DOCS_HOSTS"

func TestDocsInTheirNetwork(t *testing.T) {
	if os.Getenv(docsHostsFile) == "" {
		t.Skip("TestDocs runs it, in a network of its own")
	}
	w := newDocsWorld(t)
	r := &docsReader{world: w, met: make(map[string]bool)}
	seen := map[string]bool{}
	for _, page := range docsPages() {
		seen[page.file] = true
		t.Run(page.file, func(t *testing.T) { r.read(t, page) })
	}
	for _, words := range slices.Concat(slices.Collect(maps.Keys(docsElsewhere)), slices.Collect(maps.Keys(docsBefore)), slices.Collect(maps.Keys(docsStatus))) {
		if !r.met[words] {
			t.Errorf("%q is in no page", words)
		}
	}
	for _, page := range docstest.Pages(t, "../..") {
		if n := len(commandsOf(t, readFile(t, filepath.Join("../..", page)))); n > 0 && !seen[page] {
			t.Errorf("%s has %d commands, and is not read here", page, n)
		}
	}
	t.Logf("%d commands were run", r.ran)
}

// docsReader types what pages say.
type docsReader struct {
	world *docsWorld
	met   map[string]bool // of docsElsewhere, docsBefore and docsStatus
	ran   int
	said  string // by the last command
}

func (r *docsReader) read(t *testing.T, page docsPage) {
	text := readFile(t, filepath.Join("../..", page.file))
	if _, rest, ok := strings.Cut(text, "`registry.json` is\n\n```json\n"); ok {
		body, _, _ := strings.Cut(rest, "```")
		r.world.put("registry.json", []byte(strings.Replace(body, `"secret"`, strconv.Quote(docsPasswords["me"]), 1)))
	}
	commands := commandsOf(t, text)
	if page.file == "README.md" {
		commands = append(commands, spansOf(text)...)
	}
	if len(commands) == 0 {
		t.Error("there is no command")
	}
	for _, c := range commands {
		if marked(r, docsElsewhere, c) != "" {
			continue
		}
		if before := marked(r, docsBefore, c); before != "" {
			if status, said := r.run(t, page, before); status != 0 {
				t.Errorf("%s\nexit status %d\n%s", before, status, said)
			}
		}
		if strings.HasPrefix(c, "docker run -d --name tidewaiter-component") {
			c = r.printed(t, c)
		}
		started := time.Now()
		status, said := r.run(t, page, c)
		r.said = said
		r.ran++
		// curl ends well, too, where the server has answered with an error.
		if want := marked(r, docsStatus, c); status != want || strings.Contains(said, `"error_code"`) {
			t.Errorf("%s\nexit status %d, want %d\n%s", c, status, want, said)
		} else {
			t.Logf("%.1fs  %s", time.Since(started).Seconds(), c)
		}
	}
}

// printed returns the command that was printed by the one before, in place of an
// example of it: with the network of this machine, as docker has no other here, and
// with the authority that docs/how-to/private-ca.md has it trust.
func (r *docsReader) printed(t *testing.T, example string) string {
	t.Helper()
	for line := range strings.Lines(r.said) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "docker run") && onlyOnce.ReplaceAllString(line, "${1}…") == example {
			return strings.Replace(line, "docker run -d", "docker run -d --network host -v "+docsFolder+"/ca.pem:/ca.pem:ro -e TIDEWAITER_CA=/ca.pem", 1) +
				" && until tidewaiter cluster show office | grep -q 'status *online'; do sleep 0.2; done"
		}
	}
	t.Errorf("what is printed is not like the example\n%s\nbut\n%s", example, r.said)
	return "false"
}

// onlyOnce is what is another in each printed line.
var onlyOnce = regexp.MustCompile(`(twe_|@sha256:)\w+`)

// marked returns what a list has for how a command begins, or nothing.
func marked[V any](r *docsReader, list map[string]V, c string) (v V) {
	for words := range list {
		if strings.HasPrefix(c, words) {
			r.met[words] = true
			return list[words]
		}
	}
	return v
}

// run types a command at a terminal, and passwords where they are asked for. It
// returns the exit status, and what was to be seen.
func (r *docsReader) run(t *testing.T, page docsPage, c string) (int, string) {
	t.Helper()
	s := r.world.plain
	contexts := filepath.Join(docsFolder, "nobody.json")
	if page.public {
		s, contexts = r.world.public, filepath.Join(docsFolder, "contexts.json")
	}
	tokens := s // of the address that a request of curl is for
	if strings.Contains(c, "http://127.0.0.1:8080") {
		tokens = r.world.plain
	}
	server := strings.TrimPrefix(r.world.public.Endpoint, "https://")
	image := server + "/tidewaiter/scan-component:" + tidewaiter.Version
	c = strings.NewReplacer("$SERVER/", "$SERVER/", "SERVER/", server+"/", "VERSION", tidewaiter.Version, "MIRROR", "registry.example.com", " IMAGE", " "+image).Replace(c)
	cmd := command(r.world.docker.env(filepath.Join(docsFolder, "docker")), "/bin/bash", "-o", "pipefail", "-c", c)
	cmd.Dir = docsFolder
	cmd.Env = append(cmd.Env,
		"PATH="+filepath.Join(docsFolder, "bin")+":"+strings.TrimPrefix(debianPath, "PATH="), "TIDEWAITER_CONTEXTS="+contexts,
		"TOKEN="+tokens.ownToken(t), "PROJECT="+tokens.ProjectID, "SERVER="+s.Endpoint, "PASSWORD="+docsPasswords["robot$scan"], "TERM=dumb", "CURL_CA_BUNDLE="+r.world.ca.File)
	if strings.Contains(c, "$ID") {
		cmd.Env = append(cmd.Env, "ID="+s.registryOfPage(t, page))
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	terminal, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	overdue := time.AfterFunc(2*patience, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer overdue.Stop()
	var said bytes.Buffer
	for answered, b := 0, make([]byte, 4096); ; {
		n, err := terminal.Read(b)
		said.Write(b[:n])
		if asked := passwordAsked.FindSubmatchIndex(said.Bytes()[answered:]); asked != nil {
			user := string(said.Bytes()[answered+asked[2] : answered+asked[3]])
			password := docsPasswords[user]
			if user == "admin" {
				password = s.Password
			}
			answered = said.Len()
			awaitNoEcho(t, terminal)
			if _, err := terminal.WriteString(password + "\n"); err != nil {
				t.Fatal(err)
			}
		}
		if err != nil { // EIO: nobody has the terminal open any more
			break
		}
	}
	_ = cmd.Wait()
	for _, password := range docsPasswords {
		if bytes.Contains(said.Bytes(), []byte(password)) && !strings.HasPrefix(c, "tidewaiter upload-command") {
			t.Errorf("%s shows a password", c)
		}
	}
	return cmd.ProcessState.ExitCode(), said.String()
}

// awaitNoEcho waits until a terminal does not show what is typed.
func awaitNoEcho(t *testing.T, terminal *os.File) {
	t.Helper()
	for range 500 {
		settings, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		if settings.Lflag&unix.ECHO == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("what is typed as a password is shown")
}

var passwordAsked = regexp.MustCompile(`password of (\S+): $`)

// registryOfPage is the id of the registry that a page is about by its name, or of
// any.
func (s *server) registryOfPage(t *testing.T, page docsPage) string {
	t.Helper()
	found, err := s.sdk(t).ListRegistry(&model.ListRegistryRequest{})
	if err != nil {
		t.Fatalf("ListRegistry: %v", err)
	}
	list := *found.DataList
	if len(list) == 0 {
		t.Fatalf("%s changes a registry, and there is none", page.file)
	}
	of := slices.IndexFunc(list, func(r model.RegistryInfo) bool { return strings.Contains(page.file, *r.RegistryName) })
	return *list[max(of, 0)].Id
}

// commandsOf returns the commands in blocks of a shell, or of no language.
func commandsOf(t *testing.T, page string) (list []string) {
	t.Helper()
	for _, block := range docstest.Blocks(page) {
		file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(block), "")
		if err != nil {
			continue // a picture, or an example of output
		}
		for _, statement := range file.Stmts {
			var b bytes.Buffer
			if err := syntax.NewPrinter().Print(&b, statement); err != nil {
				t.Fatal(err)
			}
			list = append(list, b.String())
		}
	}
	return list
}

// docsSpan is a command or a request within a sentence.
var docsSpan = regexp.MustCompile("`((?:bin/tidewaiter|docker save|GET …)[^`]+)`")

// spansOf returns what sentences of README have the reader type, requests as
// commands.
func spansOf(page string) (list []string) {
	for _, found := range docsSpan.FindAllStringSubmatch(page, -1) {
		words := strings.Join(strings.Fields(found[1]), " ")
		if path, ok := strings.CutPrefix(words, "GET …"); ok {
			words = `curl -sS -H "X-Auth-Token: $TOKEN" "http://127.0.0.1:8080/v5/$PROJECT` + path + `"`
		}
		list = append(list, words)
	}
	return list
}
