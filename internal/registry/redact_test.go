package registry

import (
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestRedact(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		// What is no secret stays.
		{`/bin/sh -c apt-get update && apt-get install -y curl=7.88.1`, ``},
		{`COPY --from=build /out/app /usr/bin/app`, ``},
		{`RUN --mount=type=secret,id=npm pip install tokenizers==0.15 # buildkit`, ``},
		{`ENV PATH=/usr/bin:/bin PWD=/app LANG=C.UTF-8`, ``},
		{`docker login --password-stdin --username me`, ``},
		{`echo "the token is not here"`, ``},
		{`useradd -u 1000:1000 me; git clone ssh://git@example.com/x https://example.com:8443/y`, ``},
		{`CMD ["nginx" "-g" "daemon off;"]`, ``},
		{`PASSWORD= make`, ``},

		// NAME=value.
		{`export API_KEY=abc && make`, `export API_KEY=*** && make`},
		{`PASSWORD='a b' make`, `PASSWORD=*** make`},
		{`PASSWORD="a \" b" make`, `PASSWORD=*** make`},
		{`PASSWORD=a\ b make`, `PASSWORD=*** make`},
		{`PASSWORD=a"b c"'d e' make`, `PASSWORD=*** make`},
		{`docker run -e "DB_PASS=a b" x`, `docker run -e "DB_PASS=***" x`},
		{`db_password = a b`, `db_password = *** b`},
		{`sh -c "PGPASSWORD=abc psql" && echo "x y"`, `sh -c "PGPASSWORD=***" && echo "x y"`},
		{`sh -c "x; PGPASSWORD=abc psql" && echo "x y"`, `sh -c "x; PGPASSWORD=*** psql" && echo "x y"`},
		{`curl https://example.com/?access_token=abc&x=1 -o y`, `curl https://example.com/?access_token=*** -o y`},
		{`AWS_SECRET_ACCESS_KEY=a AWS_ACCESS_KEY_ID=b MYSQL_PWD=c x`, `AWS_SECRET_ACCESS_KEY=*** AWS_ACCESS_KEY_ID=*** MYSQL_PWD=*** x`},
		{`//npm.example.com/:_authToken=abc`, `//npm.example.com/:_authToken=***`},
		{`PASSWORD="not closed`, `PASSWORD=***`},

		// Builders write values without quotes.
		{`/bin/sh -c #(nop)  ENV PASSWORD=a b c`, `/bin/sh -c #(nop)  ENV PASSWORD=***`},
		{`ENV A=1 PASSWORD=a b c B=2 d`, `ENV A=1 PASSWORD=*** B=2 d`},
		{`ENV PASSWORD a b c`, `ENV PASSWORD ***`},
		{`ENV PASSWORD="a B=c" D=e`, `ENV PASSWORD=*** D=e`},
		{`ARG TOKEN=abc`, `ARG TOKEN=***`},
		{`ARG TOKEN`, ``},
		{`|2 V=1 TOKEN=a b /bin/sh -c make TOKEN=c all`, `|2 V=1 TOKEN=*** /bin/sh -c make TOKEN=*** all`},
		{`RUN |2 TOKEN=a b V=1 /bin/sh -c make # buildkit`, `RUN |2 TOKEN=*** V=1 /bin/sh -c make # buildkit`},
		{`LABEL api.token=a b maintainer=me`, `LABEL api.token=*** maintainer=me`},

		// --name value.
		{`x --password abc --user me`, `x --password *** --user me`},
		{`x --password=abc --user me`, `x --password=*** --user me`},
		{`x --password "a b" y`, `x --password *** y`},
		{`x -token abc`, `x -token ***`},
		{`x --api-key 'a' b`, `x --api-key *** b`},
		{`CMD ["x" "--password" "a b" "y"]`, `CMD ["x" "--password" *** "y"]`},
		{`CMD ["x","--password","a b","y"]`, `CMD ["x","--password",***,"y"]`},
		{`CMD ["x","--password=a b","y"]`, `CMD ["x","--password=***","y"]`},
		{`npm config set _authToken abc`, `npm config set _authToken ***`},
		{`curl -u me:abc x`, `curl -u me:*** x`},
		{`curl --user "me:a b" x`, `curl --user "me:***" x`},

		// name: value.
		{`curl -H "Authorization: Bearer abc" x`, `curl -H "Authorization: ***" x`},
		{`curl -H 'X-Api-Key: abc' x`, `curl -H 'X-Api-Key: ***' x`},
		{`curl -H Authorization:\ Bearer\ abc x`, `curl -H Authorization:*** x`},
		{`Authorization: Basic abc x`, `Authorization: *** x`},
		{`token: bearer abc x`, `token: *** x`},
		{`password: abc`, `password: ***`},
		{`private key: abc`, `private key: ***`},
		{`{"password":"a b","user":"me"}`, `{"password":***,"user":"me"}`},
		{`{"password": "a b", "user": "me"}`, `{"password": ***, "user": "me"}`},
		{`echo "{\"password\":\"a b\",\"user\":\"me\"}" > x`, `echo "{\"password\":***,\"user\":\"me\"}" > x`},
		{`secret => 'a b',`, `secret => ***,`},

		// URLs.
		{`git clone https://me:abc@example.com/x y`, `git clone https://me:***@example.com/x y`},
		{`git clone https://abc@example.com/x y`, `git clone https://***@example.com/x y`},
		{`pip install --index-url=https://me:a@b@example.com/ y`, `pip install --index-url=https://me:***@example.com/ y`},
	} {
		if c.want == "" {
			c.want = c.text
		}
		if got := redact(c.text); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.text, got, c.want)
		}
	}
}

func TestRedactArguments(t *testing.T) {
	for _, c := range []struct{ words, want []string }{
		{[]string{"server", "--token", "a b", "--port", "1"}, []string{"server", "--token", "***", "--port", "1"}},
		{[]string{"server", "--token=a b", "x"}, []string{"server", "--token=***", "x"}},
		{[]string{"env", "PASSWORD=a b", "x"}, []string{"env", "PASSWORD=***", "x"}},
		{[]string{"sh", "-c", "PASSWORD=a exec x"}, []string{"sh", "-c", "PASSWORD=*** exec x"}},
		{[]string{"curl", "-u", "me:a b", "-H", "Authorization: Bearer a"}, []string{"curl", "-u", "me:***", "-H", "Authorization:***"}},
		{[]string{"x", "--password-stdin", "y", "--secret"}, []string{"x", "--password-stdin", "y", "--secret"}},
		{[]string{}, []string{}},
	} {
		if diff := cmp.Diff(c.want, redactArguments(c.words)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", c.words, diff)
		}
	}
}

func TestSecretName(t *testing.T) {
	for name, want := range map[string]bool{
		"PASSWORD": true, "db.password": true, "passwd": true, "apiKey": true, "X-API-Key": true, "client_secret": true, "GITHUB_TOKEN2": true,
		"credentials": true, "ssh_private_key": true, "Proxy-Authorization": true, "bearer": true, "npm_config__auth": true, "SSHPASS": true,
		"": false, "PWD": false, "OLDPWD": false, "tokenizers": false, "bypass": false, "key": false, "GPG_KEY": false, "author": false, "--": false,
	} {
		if got := secretName(name); got != want {
			t.Errorf("secretName(%q) = %v", name, got)
		}
	}
}

// TestNoSecretRemains puts a secret into each form, in the midst of anything.
func TestNoSecretRemains(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.StringMatching(`[A-Za-z0-9$@!%^*+/_-]{3,12}HUSH[A-Za-z0-9$@!%^*+/_-]{0,6}`).Draw(t, "secret")
		name := rapid.SampledFrom([]string{"PASSWORD", "db_passwd", "apiKey", "CLIENT_SECRET", "x-token", "Credential", "private_key", "Authorization"}).Draw(t, "name")
		form := rapid.SampledFrom([]string{
			"NAME=SECRET", "NAME='SECRET'", `NAME="SECRET"`, `"NAME=SECRET"`, "'NAME=SECRET'", "--NAME SECRET", "--NAME=SECRET", "--NAME 'x SECRET'",
			"NAME: SECRET", `"NAME: SECRET"`, `"NAME":"SECRET"`, `"NAME": "x SECRET"`, `\"NAME\":\"SECRET\"`, "NAME = SECRET", "NAME='x SECRET'",
			"Authorization: Bearer SECRET", "'Authorization: Basic SECRET'", "https://me:SECRET@host/x",
		}).Draw(t, "form")
		if strings.ContainsAny(secret, "/") && strings.Contains(form, "://") {
			t.Skip("no URL")
		}
		around := rapid.SampledFrom([]string{"", "x ", "RUN make; ", `echo "a b"; `, "echo 'a' && ", `{`, "/bin/sh -c ", "|1 A=b /bin/sh -c ", "ENV A=b "})
		text := around.Draw(t, "before") + strings.NewReplacer("NAME", name, "SECRET", secret).Replace(form) + rapid.SampledFrom([]string{"", " y", "; z 'w'", "}"}).Draw(t, "after")
		if got := redact(text); strings.Contains(got, "HUSH") || !strings.Contains(got, hidden) {
			t.Fatalf("%s\nleaves %s", text, got)
		}
	})
}

func FuzzRedact(f *testing.F) {
	f.Add(`curl -H "Authorization: Bearer abc" https://me:x@y -u a:b --password 'c d'`)
	f.Add(`|2 A=b TOKEN=a b /bin/sh -c "x \"y\" 'z`)
	f.Add(`|2 A TOKEN="a b /bin/sh -c "x`)
	f.Add(`{"password":"a","token" : [1]}`)
	f.Fuzz(func(t *testing.T, s string) {
		began := time.Now()
		got := redact(clean(s))
		if time.Since(began) > time.Second {
			t.Errorf("%d bytes took %v", len(s), time.Since(began))
		}
		if !utf8.ValidString(got) {
			t.Errorf("%q is not valid", got)
		}
		if len(s) < 10 && strings.Count(got, hidden) > strings.Count(s, hidden)+1 {
			t.Errorf("%q", got)
		}
		if words := redactArguments([]string{s, s}); len(words) != 2 {
			t.Errorf("%q", words)
		}
	})
}

// TestRedactIsLinear keeps a hostile config from holding up a scan.
func TestRedactIsLinear(t *testing.T) {
	for _, part := range []string{`PASSWORD=`, `"`, `'password' : `, `://a:b@`, `--token `, `\"token`, `ENV `, `-u a:`, `key key `, `Authorization: `, `a b=`} {
		for _, begin := range []string{"", "ENV ", "|1 ", `"`, "PASSWORD=", "PASSWORD='"} {
			long := begin + strings.Repeat(part, 1<<17/len(part))
			began := processorTime(t)
			redact(long)
			if d := processorTime(t) - began; d > 2*time.Second {
				t.Errorf("%q and 128 KiB of %q took %v", begin, part, d)
			}
		}
	}
}

// processorTime is what this process has used, however busy the machine is.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano())
}
