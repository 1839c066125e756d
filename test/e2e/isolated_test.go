//go:build linux

package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// alone is a shell script that runs a program in a network namespace with
// nothing but a loopback interface of its own: it reaches no address of the
// machine, not even the machine's 127.0.0.1, and nothing beyond.
var alone = []string{"/usr/bin/unshare", "--net", "/bin/sh", "-c", `/usr/sbin/ip link set lo up && exec "$0" "$@"`}

// dialIn connects to an address as it is in the network namespace of a process.
func dialIn(ctx context.Context, pid int, addr string) (net.Conn, error) {
	runtime.LockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	defer own.Close()
	theirs, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	defer theirs.Close()
	if err := unix.Setns(int(theirs.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	// A literal address is dialled on this very thread.
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if back := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); back != nil {
		panic("a thread is lost in another network namespace: " + back.Error())
	}
	// Unlocked and not left to die: the programs that this thread has started
	// would die with it (Pdeathsig).
	runtime.UnlockOSThread()
	return c, err
}

// startAlone is startTidewaiter for a server that can connect to nothing. The
// way to it is the relay, which clients see as the server's address.
func startAlone(t testing.TB, way *relay, args ...string) *server {
	t.Helper()
	args = append(args, "--public-url", way.URL)
	s := startServer(t, alone, args)
	listens := strings.TrimPrefix(s.URL, "http://")
	pid := s.cmd.Process.Pid
	way.To(func(ctx context.Context) (net.Conn, error) { return dialIn(ctx, pid, listens) })
	s.URL, s.Client = way.URL, way.client()
	s.awaitReady(t)
	return s
}

func TestServerAlone(t *testing.T) {
	way := newRelay(t)
	s := startAlone(t, way)
	if a := s.askSDK(t, aTarget); a.ImageCommand == "" {
		t.Error("no answer")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if c, err := dialIn(t.Context(), s.cmd.Process.Pid, listener.Addr().String()); err == nil {
		c.Close()
		t.Error("what listens on this machine is reached from the server's namespace")
	}
	way.Cut()
	if s.status("/readyz") != 0 {
		t.Error("the relay is cut, and something answers")
	}
	way.Mend()
	if s.status("/readyz") != 200 {
		t.Error("the relay is mended, and nothing answers")
	}
	if len(way.Seen("/readyz")) < 2 {
		t.Error("the relay does not remember the requests")
	}
}
