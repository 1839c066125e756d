package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/store"
	"github.com/tidewaiter/tidewaiter/internal/store/storetest"
)

func wantKind(t *testing.T, err error, want tidewaiter.Kind) {
	t.Helper()
	if e, ok := errors.AsType[*tidewaiter.Error](err); !ok || e.Kind != want {
		t.Fatalf("got error %v, want one of kind %v", err, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// account is one of everything.
type account struct {
	domain            tidewaiter.Domain
	user              store.User
	project           store.Project
	enterpriseProject tidewaiter.EnterpriseProject
	policy            tidewaiter.Policy
	grant             tidewaiter.Grant
	key               store.AccessKey
	token             store.Token
}

func newAccount(t *testing.T, db *store.DB, name string) account {
	t.Helper()
	ctx, now := context.Background(), store.Now()
	var a account
	a.domain = tidewaiter.Domain{ID: store.NewID(), Name: name, Enabled: true, Created: now}
	must(t, db.CreateDomain(ctx, a.domain))
	a.user = store.User{PasswordHash: "$hash", Epoch: 3, User: tidewaiter.User{ID: store.NewID(), DomainID: a.domain.ID,
		Name: "Zoë O'Hara \\ ?", Enabled: true, Root: true, Authorization: tidewaiter.PolicyAuthorization, Created: now}}
	must(t, db.CreateUser(ctx, a.user))
	a.project = store.Project{Epoch: 4, Project: tidewaiter.Project{ID: store.NewID(), DomainID: a.domain.ID, Name: "north-1",
		Description: "d", Enabled: true, Created: now}}
	must(t, db.CreateProject(ctx, a.project))
	a.enterpriseProject = tidewaiter.EnterpriseProject{ID: store.NewID(), DomainID: a.domain.ID, Name: "ep", Description: "d",
		Enabled: true, Created: now, Updated: now.Add(time.Second)}
	must(t, db.CreateEnterpriseProject(ctx, a.enterpriseProject))
	a.policy = tidewaiter.Policy{ID: store.NewID(), DomainID: a.domain.ID, Name: "readers", Description: "d", Created: now,
		Document: tidewaiter.PolicyDocument{Version: "1.1", Statement: []tidewaiter.PolicyStatement{
			{Effect: tidewaiter.Deny, Action: []string{"hss:*:get"}}}}}
	must(t, db.CreatePolicy(ctx, a.policy))
	a.grant = tidewaiter.Grant{UserID: a.user.ID, PolicyID: a.policy.ID, ProjectID: a.project.ID,
		EnterpriseProjectID: a.enterpriseProject.ID, Created: now}
	must(t, db.CreateGrant(ctx, a.grant))
	a.key = store.AccessKey{SealedSecret: []byte{0, 1, 0xff}, AccessKey: tidewaiter.AccessKey{ID: "AK" + store.NewID(),
		UserID: a.user.ID, Enabled: true, Created: now}}
	must(t, db.CreateAccessKey(ctx, a.key))
	a.token = store.Token{Hash: []byte("hash of " + name), UserID: a.user.ID, UserEpoch: 3, ProjectID: a.project.ID, ProjectEpoch: 4,
		Issued: now, Expires: now.Add(time.Hour)}
	must(t, db.CreateToken(ctx, a.token))
	return a
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		a := newAccount(t, db, "acme")
		newAccount(t, db, "other") // must not show in any of the lists

		check := func(what string, got any, err error, want any) {
			t.Helper()
			must(t, err)
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s (-want +got):\n%s", what, d)
			}
		}
		domain, err := db.Domain(ctx, a.domain.ID)
		check("Domain", domain, err, a.domain)
		domain, err = db.DomainByName(ctx, "acme")
		check("DomainByName", domain, err, a.domain)
		domains, err := db.Domains(ctx)
		check("Domains", len(domains), err, 2)
		user, err := db.User(ctx, a.user.ID)
		check("User", user, err, a.user)
		user, err = db.UserByName(ctx, a.domain.ID, a.user.Name)
		check("UserByName", user, err, a.user)
		users, err := db.Users(ctx, a.domain.ID)
		check("Users", users, err, []store.User{a.user})
		project, err := db.Project(ctx, a.project.ID)
		check("Project", project, err, a.project)
		project, err = db.ProjectByName(ctx, a.domain.ID, "north-1")
		check("ProjectByName", project, err, a.project)
		projects, err := db.Projects(ctx, a.domain.ID)
		check("Projects", projects, err, []store.Project{a.project})
		ep, err := db.EnterpriseProject(ctx, a.enterpriseProject.ID)
		check("EnterpriseProject", ep, err, a.enterpriseProject)
		eps, err := db.EnterpriseProjects(ctx, a.domain.ID)
		check("EnterpriseProjects", eps, err, []tidewaiter.EnterpriseProject{a.enterpriseProject})
		policy, err := db.Policy(ctx, a.policy.ID)
		check("Policy", policy, err, a.policy)
		policies, err := db.Policies(ctx, a.domain.ID)
		check("Policies", policies, err, []tidewaiter.Policy{a.policy})
		policies, err = db.PoliciesOf(ctx, a.user.ID)
		check("PoliciesOf", policies, err, []tidewaiter.Policy{a.policy})
		grants, err := db.Grants(ctx, a.user.ID)
		check("Grants", grants, err, []tidewaiter.Grant{a.grant})
		grants, err = db.GrantsIn(ctx, a.domain.ID)
		check("GrantsIn", grants, err, []tidewaiter.Grant{a.grant})
		key, err := db.AccessKey(ctx, a.key.ID)
		check("AccessKey", key, err, a.key)
		keys, err := db.AccessKeys(ctx, a.user.ID)
		check("AccessKeys", keys, err, []store.AccessKey{a.key})
		token, err := db.Token(ctx, a.token.Hash)
		check("Token", token, err, a.token)
	})
}

func TestUpdates(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		a := newAccount(t, db, "acme")

		a.user.Name, a.user.Enabled, a.user.Root, a.user.Epoch = "u2", false, false, 9
		a.user.PasswordHash, a.user.Authorization = "h2", tidewaiter.IdentityPolicyAuthorization
		must(t, db.UpdateUser(ctx, a.user))
		if got, err := db.User(ctx, a.user.ID); err != nil || got != a.user {
			t.Errorf("user is %+v, %v", got, err)
		}
		a.project.Name, a.project.Enabled, a.project.Epoch, a.project.Description = "p2", false, 9, "d2"
		must(t, db.UpdateProject(ctx, a.project))
		if got, err := db.Project(ctx, a.project.ID); err != nil || got != a.project {
			t.Errorf("project is %+v, %v", got, err)
		}
		a.enterpriseProject.Name, a.enterpriseProject.Updated = "e2", store.Now()
		must(t, db.UpdateEnterpriseProject(ctx, a.enterpriseProject))
		if got, err := db.EnterpriseProject(ctx, a.enterpriseProject.ID); err != nil || got != a.enterpriseProject {
			t.Errorf("enterprise project is %+v, %v", got, err)
		}
		a.policy.Name, a.policy.Document.Statement[0].Effect = "n2", tidewaiter.Allow
		must(t, db.UpdatePolicy(ctx, a.policy))
		if got, err := db.Policy(ctx, a.policy.ID); err != nil || !cmp.Equal(got, a.policy) {
			t.Errorf("policy is %+v, %v", got, err)
		}
		must(t, db.EnableAccessKey(ctx, a.key.ID, false))
		if got, err := db.AccessKey(ctx, a.key.ID); err != nil || got.Enabled {
			t.Errorf("access key is %+v, %v", got, err)
		}
		a.domain.Enabled = false
		must(t, db.UpdateDomain(ctx, a.domain))
		if got, err := db.Domain(ctx, a.domain.ID); err != nil || got != a.domain {
			t.Errorf("domain is %+v, %v", got, err)
		}
	})
}

func TestDeletesTakeWhatHangsOnThem(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		gone := func(what string, err error) {
			t.Helper()
			if tidewaiter.KindOf(err) != tidewaiter.NotFound {
				t.Errorf("%s is still there, or: %v", what, err)
			}
		}
		grants := func(a account, want int) {
			t.Helper()
			if got, err := db.Grants(ctx, a.user.ID); err != nil || len(got) != want {
				t.Errorf("grants are %+v, %v, want %d", got, err, want)
			}
		}

		bystander := newAccount(t, db, "bystander")
		a := newAccount(t, db, "one")
		must(t, db.DeleteUser(ctx, a.user.ID))
		_, err := db.AccessKey(ctx, a.key.ID)
		gone("access key", err)
		_, err = db.Token(ctx, a.token.Hash)
		gone("token", err)
		grants(a, 0)

		a = newAccount(t, db, "two")
		must(t, db.DeleteProject(ctx, a.project.ID))
		_, err = db.Token(ctx, a.token.Hash)
		gone("token", err)
		grants(a, 0)

		a = newAccount(t, db, "three")
		must(t, db.DeletePolicy(ctx, a.policy.ID))
		grants(a, 0)

		a = newAccount(t, db, "four")
		must(t, db.DeleteEnterpriseProject(ctx, a.enterpriseProject.ID))
		grants(a, 0)

		must(t, db.DeleteTokensOf(ctx, a.user.ID))
		_, err = db.Token(ctx, a.token.Hash)
		gone("token", err)

		grants(bystander, 1)
		must(t, db.DeleteGrant(ctx, bystander.grant))
		grants(bystander, 0)
		must(t, db.DeleteToken(ctx, bystander.token.Hash))
		must(t, db.DeleteAccessKey(ctx, bystander.key.ID))
	})
}

func TestNotFound(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		errs := map[string]error{}
		_, errs["Domain"] = db.Domain(ctx, "x")
		_, errs["DomainByName"] = db.DomainByName(ctx, "x")
		_, errs["User"] = db.User(ctx, "x")
		_, errs["UserByName"] = db.UserByName(ctx, "x", "x")
		_, errs["Project"] = db.Project(ctx, "x")
		_, errs["ProjectByName"] = db.ProjectByName(ctx, "x", "x")
		_, errs["EnterpriseProject"] = db.EnterpriseProject(ctx, "x")
		_, errs["Policy"] = db.Policy(ctx, "x")
		_, errs["AccessKey"] = db.AccessKey(ctx, "x")
		_, errs["Token"] = db.Token(ctx, []byte("x"))
		_, errs["Setting"] = db.Setting(ctx, "x")
		errs["UpdateDomain"] = db.UpdateDomain(ctx, tidewaiter.Domain{ID: "x"})
		errs["UpdateUser"] = db.UpdateUser(ctx, store.User{})
		errs["UpdateProject"] = db.UpdateProject(ctx, store.Project{})
		errs["UpdateEnterpriseProject"] = db.UpdateEnterpriseProject(ctx, tidewaiter.EnterpriseProject{})
		errs["UpdatePolicy"] = db.UpdatePolicy(ctx, tidewaiter.Policy{})
		errs["EnableAccessKey"] = db.EnableAccessKey(ctx, "x", true)
		errs["DeleteUser"] = db.DeleteUser(ctx, "x")
		errs["DeleteProject"] = db.DeleteProject(ctx, "x")
		errs["DeleteEnterpriseProject"] = db.DeleteEnterpriseProject(ctx, "x")
		errs["DeletePolicy"] = db.DeletePolicy(ctx, "x")
		errs["DeleteGrant"] = db.DeleteGrant(ctx, tidewaiter.Grant{})
		errs["DeleteAccessKey"] = db.DeleteAccessKey(ctx, "x")
		errs["DeleteToken"] = db.DeleteToken(ctx, []byte("x"))
		errs["CreateUser in no domain"] = db.CreateUser(ctx, store.User{User: tidewaiter.User{ID: "x", DomainID: "y", Name: "z"}})
		for what, err := range errs {
			if e, ok := errors.AsType[*tidewaiter.Error](err); !ok || e.Kind != tidewaiter.NotFound {
				t.Errorf("%s: got %v", what, err)
			}
		}
	})
}

func TestNamesAreUnique(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		a := newAccount(t, db, "acme")
		newAccount(t, db, "the same names are fine in another domain")

		again := map[string]error{}
		d := a.domain
		d.ID = store.NewID()
		again["domain"] = db.CreateDomain(ctx, d)
		u := a.user
		u.ID = store.NewID()
		again["user"] = db.CreateUser(ctx, u)
		p := a.project
		p.ID = store.NewID()
		again["project"] = db.CreateProject(ctx, p)
		e := a.enterpriseProject
		e.ID = store.NewID()
		again["enterprise project"] = db.CreateEnterpriseProject(ctx, e)
		y := a.policy
		y.ID = store.NewID()
		again["policy"] = db.CreatePolicy(ctx, y)
		for what, err := range again {
			e, ok := errors.AsType[*tidewaiter.Error](err)
			if !ok || e.Kind != tidewaiter.Conflict || e.Field != "name" {
				t.Errorf("a second %s: got %v", what, err)
			}
		}
		u.Name = "another"
		must(t, db.CreateUser(ctx, u))
		u.Name = a.user.Name
		wantKind(t, db.UpdateUser(ctx, u), tidewaiter.Conflict)

		must(t, db.CreateGrant(ctx, a.grant)) // the same grant again is no change
		if got, err := db.Grants(ctx, a.user.ID); err != nil || len(got) != 1 {
			t.Errorf("grants are %v, %v", got, err)
		}
	})
}

func TestNamesSortByBytes(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		a := newAccount(t, db, "acme")
		for _, name := range []string{"é", "b", "a", "Z", "_"} {
			must(t, db.CreateProject(ctx, store.Project{Project: tidewaiter.Project{
				ID: store.NewID(), DomainID: a.domain.ID, Name: name, Created: store.Now()}}))
		}
		projects, err := db.Projects(ctx, a.domain.ID)
		must(t, err)
		var names []string
		for _, p := range projects {
			names = append(names, p.Name)
		}
		if got := strings.Join(names, " "); got != "Z _ a b north-1 é" {
			t.Errorf("got %s", got)
		}
	})
}

func TestPurgeTokens(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		a := newAccount(t, db, "acme")
		if n, err := db.PurgeTokens(ctx, a.token.Expires); n != 0 || err != nil {
			t.Errorf("purged %d, %v", n, err)
		}
		if n, err := db.PurgeTokens(ctx, a.token.Expires.Add(time.Microsecond)); n != 1 || err != nil {
			t.Errorf("purged %d, %v", n, err)
		}
	})
}

func TestTxRollsBack(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, broken := context.Background(), errors.New("broken")
		err := db.Tx(ctx, func(tx *store.DB) error {
			must(t, tx.CreateDomain(ctx, tidewaiter.Domain{ID: "x", Name: "x", Created: store.Now()}))
			if _, err := tx.Domain(ctx, "x"); err != nil {
				t.Errorf("a transaction does not see what it wrote: %v", err)
			}
			if _, err := db.Domain(ctx, "x"); tidewaiter.KindOf(err) != tidewaiter.NotFound {
				t.Errorf("others see what is not committed: %v", err)
			}
			return tx.Tx(ctx, func(*store.DB) error { return broken })
		})
		if !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
		_, err = db.Domain(ctx, "x")
		wantKind(t, err, tidewaiter.NotFound)
	})
}

func TestOneOfManyClaimsASetting(t *testing.T) {
	storetest.EachURL(t, func(t *testing.T, url string) {
		ctx := context.Background()
		storetest.Open(t, url)
		var mu sync.Mutex
		var winners, values []string
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				db, err := store.Open(ctx, store.Options{URL: url})
				if err != nil {
					t.Error(err)
					return
				}
				defer db.Close()
				mine := fmt.Sprint(i)
				var value string
				var claimed bool
				err = db.Tx(ctx, func(tx *store.DB) (err error) {
					value, claimed, err = tx.ClaimSetting(ctx, "s", mine)
					return err
				})
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				values = append(values, value)
				if claimed {
					winners = append(winners, mine)
				}
			})
		}
		wg.Wait()
		if len(winners) != 1 || slices.ContainsFunc(values, func(v string) bool { return v != winners[0] }) {
			t.Errorf("winners %v, values %v", winners, values)
		}
	})
}

func TestLockDataFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	lock, err := store.LockDataFolder(dir)
	must(t, err)
	if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v, %v", fi.Mode(), err)
	}
	_, err = store.LockDataFolder(dir)
	wantKind(t, err, tidewaiter.Conflict)
	if want := fmt.Sprintf("data folder is in use by process %d", os.Getpid()); !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
	// A child must not inherit the lock and keep it.
	child := exec.Command("sleep", "60")
	must(t, child.Start())
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	must(t, lock.Release())
	lock, err = store.LockDataFolder(dir)
	must(t, err)
	must(t, lock.Release())
}
