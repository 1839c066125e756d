package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BenchmarkServe starts the built program until it is ready: on a new data
// folder, where it makes schema, keys and the first account, and on one that is
// there. It reports the resident memory, in MB, two seconds later, when nobody
// has asked for anything.
func BenchmarkServe(b *testing.B) {
	program, err := filepath.Abs("../../bin/tidewaiter")
	if err != nil {
		b.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		b.Fatal("run make build first: ", err)
	}
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			data := filepath.Join(b.TempDir(), "data")
			b.StartTimer()
			startAndStop(b, program, data)
		}
	})
	b.Run("again", func(b *testing.B) {
		data := filepath.Join(b.TempDir(), "data")
		startAndStop(b, program, data)
		for b.Loop() {
			startAndStop(b, program, data)
		}
	})
}

func startAndStop(b *testing.B, program, data string) {
	b.Helper()
	cmd := exec.Command(program, "serve", "--data", data, "--listen", "127.0.0.1:0")
	log, err := cmd.StderrPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	lines := bufio.NewScanner(log)
	for lines.Scan() && !strings.Contains(lines.Text(), "msg=ready") {
	}
	b.StopTimer()
	time.Sleep(2 * time.Second)
	b.ReportMetric(residentMB(b, cmd.Process.Pid), "RSS-MB")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		b.Fatal(err)
	}
	for lines.Scan() {
	}
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
	b.StartTimer()
}

func residentMB(b *testing.B, pid int) float64 {
	b.Helper()
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmRSS:" {
			kb, err := strconv.ParseFloat(f[1], 64)
			if err != nil {
				b.Fatal(err)
			}
			return kb / 1024
		}
	}
	b.Fatal("no VmRSS")
	return 0
}
