package inventory

import (
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidewaiter/tidewaiter"
)

// TestNextSync follows a year of a schedule in zones with and without summer
// time: one moment on each day of the calendar, within the hour that a clock
// may jump.
func TestNextSync(t *testing.T) {
	for _, zone := range []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Sao_Paulo"} {
		location, err := time.LoadLocation(zone)
		if err != nil {
			t.Skip("no time zones here: ", err)
		}
		for _, at := range []string{"00:00", "00:30", "01:00", "01:59", "02:00", "02:30", "03:00", "12:00", "23:59"} {
			s, err := New(Options{SyncAt: at, Location: location})
			if err != nil {
				t.Fatal(err)
			}
			hour, minute, _ := clockTime(at)
			wanted := time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute
			now := time.Date(2018, 1, 1, 0, 0, 0, 0, location).Add(-time.Second)
			for day := range 800 {
				next := s.nextSync(tidewaiter.RegistrySettings{}, now)
				local := next.In(location)
				if want := time.Date(2018, 1, 1+day, 12, 0, 0, 0, location); local.YearDay() != want.YearDay() || local.Year() != want.Year() {
					t.Fatalf("%s at %s: run %d is at %s, want it on %s", zone, at, day, local, want.Format(time.DateOnly))
				}
				said := time.Duration(local.Hour())*time.Hour + time.Duration(local.Minute())*time.Minute
				if off := said - wanted; off < -time.Hour || off > time.Hour {
					t.Fatalf("%s at %s: run %d is at %s", zone, at, day, local)
				}
				now = next
			}
		}
	}
}

func TestNextSyncIsLater(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, err := New(Options{Location: time.FixedZone("here", rapid.IntRange(-12*3600, 14*3600).Draw(t, "offset"))})
		if err != nil {
			t.Fatal(err)
		}
		now := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "now"), 0)
		next := s.nextSync(tidewaiter.RegistrySettings{SyncAt: "04:05"}, now)
		if d := next.Sub(now); d <= 0 || d > 24*time.Hour {
			t.Fatalf("the next is %s later", d)
		}
		if !s.nextSync(tidewaiter.RegistrySettings{SyncAt: "off"}, now).IsZero() {
			t.Fatal("off is scheduled")
		}
	})
}

func TestSyncAt(t *testing.T) {
	for _, at := range []string{"1:00", "24:00", "01:60", "01:00:00", "noon", " 01:00", "OFF", "０１:00"} {
		if _, err := New(Options{SyncAt: at}); tidewaiter.KindOf(err) != tidewaiter.Invalid || err == nil {
			t.Errorf("%q: got %v", at, err)
		}
	}
}

// TestDowntime: what was missed is made up for once, and of several servers
// one does it.
func TestDowntime(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		for _, name := range []string{"a", "b", "c"} {
			w.ready(name)
			w.sync(tagged("team/app", true, "v1", imageOf("1")))
		}
		other, err := New(w.options())
		w.ok(err)
		before := len(w.tasks())
		w.pass(3*24*time.Hour + time.Hour) // three runs were missed
		var wg sync.WaitGroup
		errs := make([]error, 4)
		for i := range errs {
			wg.Go(func() {
				s := w.Service
				if i%2 == 1 {
					s = other
				}
				errs[i] = s.runDue(ctx)
			})
		}
		wg.Wait()
		for _, err := range errs {
			w.ok(err)
		}
		// On PostgreSQL the servers may share the registries among them.
		total := 0
		for _, task := range w.tasks()[:len(w.tasks())-before] {
			total += task.Total
			if task.Kind != tidewaiter.AutoSync || !task.Ended.IsZero() {
				t.Errorf("task %+v", task)
			}
		}
		if total != 3 {
			t.Errorf("%d registries are synchronised, want each of 3 once", total)
		}
		for range 3 {
			w.sync(tagged("team/app", true, "v1", imageOf("1")))
		}
		if _, _, err := w.tryLease("component-1"); tidewaiter.KindOf(err) != tidewaiter.NotFound {
			t.Errorf("there is more work: %v", err)
		}
		w.ok(w.runDue(ctx))
		if _, _, err := w.tryLease("component-1"); tidewaiter.KindOf(err) != tidewaiter.NotFound {
			t.Errorf("the same day is run twice: %v", err)
		}
		// A server that read what is due, and was slow to act.
		w.pass(24 * time.Hour)
		due, err := w.db.DueRegistries(ctx, w.at(), 10)
		w.ok(err)
		w.ok(w.runDue(ctx))
		for range 3 {
			w.sync()
		}
		w.ok(other.runGroup(ctx, w.project, "0", due))
		if _, _, err := w.tryLease("component-1"); tidewaiter.KindOf(err) != tidewaiter.NotFound {
			t.Errorf("a slow server runs the same day again: %v", err)
		}
	})
}

// TestScheduleOff: off never runs, also when it becomes so after it was
// scheduled; and a changed default reaches registries that have none of their own.
func TestScheduleOff(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		r := w.ready("a")
		w.sync()
		off, own := "off", "05:30"
		_, err := w.UpdateRegistry(ctx, w.everything(), r.ID, RegistryChange{Settings: SettingsChange{SyncAt: &off}})
		w.ok(err)
		w.pass(48 * time.Hour)
		w.ok(w.runDue(ctx))
		if _, _, err := w.tryLease("component-1"); tidewaiter.KindOf(err) != tidewaiter.NotFound {
			t.Errorf("off was run: %v", err)
		}
		empty := ""
		_, err = w.UpdateRegistry(ctx, w.everything(), r.ID, RegistryChange{Settings: SettingsChange{SyncAt: &empty}})
		w.ok(err)
		if want := time.Date(2026, 3, 6, 1, 0, 0, 0, time.UTC); !w.registry(r.ID).NextSync.Equal(want) {
			t.Errorf("next at %s, want %s", w.registry(r.ID).NextSync, want)
		}

		o := w.options()
		o.SyncAt = "off"
		s, err := New(o)
		w.ok(err)
		w.ok(s.reschedule(ctx))
		if next := w.registry(r.ID).NextSync; !next.IsZero() {
			t.Errorf("with the default off, next at %s", next)
		}
		w.ok(w.reschedule(ctx))
		if w.registry(r.ID).NextSync.IsZero() {
			t.Error("with the default on again, it is not scheduled")
		}
		_, err = w.UpdateRegistry(ctx, w.everything(), r.ID, RegistryChange{Settings: SettingsChange{SyncAt: &own}})
		w.ok(err)
		w.ok(s.reschedule(ctx))
		if want := time.Date(2026, 3, 6, 5, 30, 0, 0, time.UTC); !w.registry(r.ID).NextSync.Equal(want) {
			t.Errorf("next at %s, want %s", w.registry(r.ID).NextSync, want)
		}
		// The clock stood a year ahead for a while.
		ahead := w.registry(r.ID)
		w.ok(w.db.SetNextSync(ctx, r.ID, ahead.NextSync, ahead.NextSync.AddDate(1, 0, 0)))
		w.ok(w.reschedule(ctx))
		if got := w.registry(r.ID).NextSync; !got.Equal(ahead.NextSync) {
			t.Errorf("after the clock was put right, next at %s, want %s", got, ahead.NextSync)
		}
	})
}
