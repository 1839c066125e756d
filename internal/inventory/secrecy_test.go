package inventory

import (
	"bytes"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

// TestSecrecy: after all that may happen to a registry, no row of the database,
// no byte of its files, no error and no line of the log holds a secret.
func TestSecrecy(t *testing.T) {
	storetest.EachURL(t, func(t *testing.T, url string) {
		ctx := t.Context()
		var log bytes.Buffer
		w := newWorld(t, storetest.Open(t, url))
		w.log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		secrets := []string{"Planted-0ne", "Planted-Tw0", "Planted-Thr33", "Planted-F0ur", "Planted-F1ve"}
		var said []string
		note := func(err error) {
			if err != nil {
				said = append(said, err.Error())
			}
		}
		n := w.new("harbor")
		n.Password = secrets[0]
		n.Settings.Proxy = ptrTo("http://user:" + secrets[1] + "@proxy.example.com:3128")
		n.Settings.SWRSecretKey = ptrTo(secrets[2])
		_, err := w.AddRegistry(ctx, withoutCluster(n))
		note(err)
		r := w.add(n)
		_, err = w.AddRegistry(ctx, n) // the name is taken
		note(err)
		work, l := w.lease("component-1")
		bad := goodReport()
		bad.FailReason, bad.Steps[3].Status = tidewaiter.FailRequestAPI, "failed"
		w.ok(w.finish(work, l, protocol.FinishRequest{Outcome: protocol.OutcomeDone, AccessCheck: bad}))
		_, err = w.UpdateRegistry(ctx, w.everything(), r.ID, RegistryChange{
			Password: &secrets[3], Settings: SettingsChange{Proxy: ptrTo("http://user:" + secrets[4] + "@proxy.example.com:3128")}})
		w.ok(err)
		_, err = w.UpdateRegistry(ctx, w.everything(), r.ID, RegistryChange{Address: ptrTo("elsewhere.example.com"), Password: &secrets[3]})
		note(err)
		_, err = w.UpdateRegistry(ctx, w.everything(), "no-such", RegistryChange{Password: &secrets[3]})
		note(err)
		for _, proxy := range []string{"ftp://u:" + secrets[4] + "@p", "http://u:" + secrets[4] + "%@p", secrets[4], "http://p:" + secrets[4], "http://p/" + secrets[4]} {
			_, err = w.UpdateRegistry(ctx, w.everything(), r.ID, RegistryChange{Settings: SettingsChange{Proxy: &proxy}})
			w.wants(tidewaiter.Invalid, err)
			note(err)
		}
		w.passCheck()
		w.sync(tagged("team/app", true, "v1", imageOf("1")))
		d, err := w.Details(ctx, w.everything(), r.ID)
		w.ok(err)
		said = append(said, fmt.Sprintf("%+v", d))
		w.pass(48 * time.Hour)
		w.try(ctx, "runDue", w.runDue)
		w.try(ctx, "sweep", w.Sweep)

		places := map[string][]byte{"errors": []byte(strings.Join(said, "\n")), "log": log.Bytes()}
		if file, ok := strings.CutPrefix(url, "sqlite:"); ok {
			files, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*"))
			w.ok(err)
			for _, name := range files {
				if places[name], err = os.ReadFile(name); err != nil {
					t.Fatal(err)
				}
			}
		} else {
			places["database"] = dump(t, url)
		}
		found := false
		for place, content := range places {
			found = found || bytes.Contains(content, []byte("proxy.example.com")) || bytes.Contains(content, []byte("harbor.example.com"))
			for _, secret := range secrets {
				for _, form := range []string{secret, hex.EncodeToString([]byte(secret)), base64.StdEncoding.EncodeToString([]byte(secret))[:8]} {
					if bytes.Contains(content, []byte(form)) {
						t.Errorf("%s: holds the secret %s as %s", place, secret, form)
					}
				}
			}
		}
		if !found || len(said) < 9 {
			t.Errorf("the search looks at nothing: %d texts", len(said))
		}
	})
}

func withoutCluster(n NewRegistry) NewRegistry {
	n.ClusterID = "no-such"
	return n
}

// dump returns all rows of a PostgreSQL database.
func dump(t *testing.T, url string) []byte {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // read
	tables := column(t, db, "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public'")
	if len(tables) < 10 {
		t.Fatalf("%d tables", len(tables))
	}
	var text []byte
	for _, table := range tables {
		for _, row := range column(t, db, `SELECT row::text || ' ' || encode(convert_to(row::text, 'UTF8'), 'escape') FROM "`+table+`" AS row`) {
			text = append(append(text, row...), '\n')
		}
	}
	return text
}

func column(t *testing.T, db *sql.DB, query string) []string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close() //nolint:errcheck // read
	var list []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		list = append(list, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}
