package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/client"
)

// server is `tidewaiter serve` with what its first start left for its operator.
type server struct {
	Endpoint  string `json:"endpoint"`
	Domain    string `json:"domain"`
	User      string `json:"user"`
	Password  string `json:"password"`
	ProjectID string `json:"project_id"`

	program, data string
	process       *exec.Cmd
	api           *client.Client
}

// startServer runs the server on port 8080, or on a free one.
func startServer(ctx context.Context, program string) (*server, error) {
	s := &server{program: program, data: filepath.Join(folder, "data")}
	address := "127.0.0.1:8080"
	l, err := net.Listen("tcp", address)
	if err != nil {
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, err
		}
		address = l.Addr().String()
	}
	if err := l.Close(); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(folder, "server.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()                                                                                             //nolint:errcheck // the server has it
	s.process = exec.Command(program, "serve", "--data", s.data, "--listen", address, "--advisories-from", "off") //nolint:gosec // our own program
	s.process.Stdout, s.process.Stderr = log, log
	s.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the demo, which stops the server
	if err := s.process.Start(); err != nil {
		return nil, fmt.Errorf("start the server (make build): %w", err)
	}
	err = until(ctx, "ready", func() (bool, error) {
		resp, err := http.Get("http://" + address + "/readyz") //nolint:noctx,gosec // it is asked until it answers
		if err != nil {
			return false, nil
		}
		return resp.StatusCode == http.StatusOK, resp.Body.Close()
	})
	if err != nil {
		s.stop()
		return nil, fmt.Errorf("%w; see %s", err, log.Name())
	}
	b, err := os.ReadFile(filepath.Join(s.data, "bootstrap.json"))
	if err == nil {
		err = json.Unmarshal(b, s)
	}
	if err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *server) stop() {
	s.process.Process.Signal(syscall.SIGTERM) //nolint:errcheck,gosec // it may have ended by itself
	s.process.Wait()                          //nolint:errcheck,gosec // as above
}

// command runs a command of tidewaiter on the data folder.
func (s *server) command(ctx context.Context, input string, args ...string) error {
	cmd := exec.CommandContext(ctx, s.program, append(args, "--data", s.data)...) //nolint:gosec // our own program
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("tidewaiter %s: %w\n%s", args[0], err, out)
	}
	return nil
}

// withToken sends a token with each request.
type withToken struct{ token string }

func (t withToken) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Auth-Token", t.token)
	return http.DefaultTransport.RoundTrip(r)
}

// signIn gets a token for the project.
func (s *server) signIn(ctx context.Context) error {
	type object = map[string]any
	body, err := json.Marshal(object{"auth": object{
		"identity": object{"methods": []string{"password"}, "password": object{
			"user": object{"name": s.User, "password": s.Password, "domain": object{"name": s.Domain}},
		}},
		"scope": object{"project": object{"id": s.ProjectID}},
	}})
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Endpoint+"/v3/auth/tokens", bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // only its header is of interest
	token := resp.Header.Get("X-Subject-Token")
	if token == "" {
		return fmt.Errorf("sign in: the server answered %s", resp.Status)
	}
	s.api = &client.Client{Base: s.Endpoint, HTTP: &http.Client{Transport: withToken{token}, Timeout: time.Minute}}
	return nil
}

func (s *server) path(path string) string { return "/v5/" + s.ProjectID + path }

// connect connects the registry, and waits for its images.
func (s *server) connect(ctx context.Context, r *throwAway) error {
	err := s.api.Do(ctx, http.MethodPost, s.path("/image/registries"), nil, map[string]string{
		"registry_name": "demo", "registry_type": "Other", "api_version": "V2", "protocol": "http", "registry_addr": r.address,
		"registry_username": r.user, "registry_password": r.password, "namespace": "tools",
		"get_scan_image_channel": "Other", "connect_cluster_id": "local",
	}, nil)
	if err != nil {
		return err
	}
	var registries struct {
		DataList []struct {
			ID     string `json:"id"`
			Status string `json:"status"`
			Detail string `json:"fail_detail"`
		} `json:"data_list"`
	}
	err = until(ctx, "the registry reached", func() (bool, error) {
		err := s.api.Do(ctx, http.MethodGet, s.path("/image/registries"), nil, nil, &registries)
		if err != nil || len(registries.DataList) != 1 {
			return false, err
		}
		if registries.DataList[0].Status == "fail" {
			return false, errors.New("the registry could not be reached: " + registries.DataList[0].Detail)
		}
		return registries.DataList[0].Status == "success", nil
	})
	if err != nil {
		return err
	}
	if err := s.api.Do(ctx, http.MethodPost, "/tidewaiter/v1/registries/"+registries.DataList[0].ID+"/synchronize", nil, nil, nil); err != nil {
		return err
	}
	var images struct {
		TotalNum int `json:"total_num"`
	}
	return until(ctx, "the images listed", func() (bool, error) {
		err := s.api.Do(ctx, http.MethodGet, s.path("/image/registries/images"), nil, nil, &images)
		return images.TotalNum >= len(programs()), err
	})
}

// scan scans all images, and waits for the end.
func (s *server) scan(ctx context.Context) error {
	if err := s.api.Do(ctx, http.MethodPost, s.path("/image/image-scan/tasks"), nil, map[string]bool{"is_all": true}, nil); err != nil {
		return err
	}
	var tasks struct {
		DataList []struct {
			Status int `json:"task_status"`
			Failed int `json:"failed_num"`
		} `json:"data_list"`
	}
	return until(ctx, "the scan finished", func() (bool, error) {
		err := s.api.Do(ctx, http.MethodGet, s.path("/image/tasks"), url.Values{"type": {"image_scan"}}, nil, &tasks)
		if err != nil || len(tasks.DataList) == 0 {
			return false, err
		}
		if t := tasks.DataList[0]; t.Status < 0 || t.Failed > 0 {
			return false, fmt.Errorf("the scan failed (status %d, %d images failed)", t.Status, t.Failed)
		}
		return tasks.DataList[0].Status == 100, nil
	})
}

// vulnerability is one of those that the images have.
type vulnerability struct {
	ID          string `json:"vul_id"`
	Severity    string `json:"severity_level"`
	Images      int    `json:"image_num"`
	Description string `json:"description"`
}

func (s *server) vulnerabilities(ctx context.Context) ([]vulnerability, error) {
	var found struct {
		DataList []vulnerability `json:"data_list"`
	}
	err := s.api.Do(ctx, http.MethodGet, s.path("/images/vulnerabilities"), url.Values{
		"type": {"app_vul"}, "handle_status": {"unhandled"}, "image_type": {"registry"},
	}, nil, &found)
	if err == nil && len(found.DataList) == 0 {
		err = errors.New("no vulnerability was found, where there are some")
	}
	return found.DataList, err
}

// until asks until the answer is yes, or for two minutes.
func until(ctx context.Context, what string, done func() (bool, error)) error {
	deadline := time.Now().Add(2 * time.Minute)
	for time.Now().Before(deadline) {
		if ok, err := done(); err != nil || ok {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
	return fmt.Errorf("not %s within two minutes", what)
}
