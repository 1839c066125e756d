package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/hssapi"
)

func (p *program) taskCommand() *cobra.Command {
	return addProject(group("task", "Follow scans and synchronisations", p.taskList(), p.taskWatch(), p.taskStop()))
}

func taskType(cmd *cobra.Command) {
	cmd.Flags().String("type", "image_scan", "`kind` of tasks: image_scan or image_sync")
	_ = cmd.RegisterFlagCompletionFunc("type", cobra.FixedCompletions([]string{"image_scan", "image_sync"}, cobra.ShellCompDirectiveNoFileComp))
}

func (p *program) taskList() *cobra.Command {
	var limit int
	cmd := p.plain("list", "List tasks, the newest first", func(ctx context.Context, c *adminClient, cmd *cobra.Command) error {
		tasks, _, err := listed[hssapi.ImageScanTaskInfo](ctx, c, "/image/tasks", url.Values{"type": {cmd.Flags().Lookup("type").Value.String()}}, limit)
		if err != nil {
			return err
		}
		return show(cmd, tasks, "TASK KIND STATE TOTAL DONE FAILED BEGAN ENDED", func(t hssapi.ImageScanTaskInfo) []any {
			return []any{t.TaskID, t.TaskType, stateOf(t), t.TotalNum, t.SuccessNum, t.FailedNum, timeOf(t.BeginTime), timeOf(t.EndTime)}
		})
	})
	cmd.Example = "  tidewaiter task list\n  tidewaiter task list --type image_sync"
	taskType(cmd)
	cmd.Flags().IntVar(&limit, "limit", 50, "the most to list; 0 is all")
	return cmd
}

// stateOf says where a task is, in words.
func stateOf(t hssapi.ImageScanTaskInfo) string {
	switch {
	case t.TaskStatus == -1:
		return "stopped"
	case t.TaskStatus == -2:
		return "timed out"
	case t.TaskStatus < 0:
		return "failed"
	case t.TaskStatus == 100:
		return "finished"
	}
	return fmt.Sprintf("%d%%", t.TaskStatus)
}

// errFailedImages is a task that has ended, but not well for all images; the
// output says which.
var errFailedImages = errors.New("some images could not be scanned to their end")

func (p *program) taskWatch() *cobra.Command {
	cmd := p.named("watch TASK", "Wait until a task has ended, and show how far it is", func(ctx context.Context, c *adminClient, cmd *cobra.Command, id string) error {
		return p.watchTask(ctx, c, cmd, cmd.Flags().Lookup("type").Value.String(), id)
	})
	cmd.Long = "Wait until a task has ended, and show how far it is: on a terminal with a bar, else\n" +
		"with a line whenever something has changed. The exit status is 5 if images failed, and\n" +
		"1 if the task was stopped or failed."
	cmd.Example = "  tidewaiter task watch 0123456789abcdef0123456789abcdef"
	taskType(cmd)
	return cmd
}

// watchEvery is the time between two looks at a task.
const watchEvery = time.Second

// watchTask waits for the end of a task.
func (p *program) watchTask(ctx context.Context, c *adminClient, cmd *cobra.Command, kind, id string) error {
	progress := newProgress(p.stderr)
	defer progress.end()
	for {
		t, err := findTask(ctx, c, kind, id)
		if err != nil {
			return err
		}
		if t.EndTime == 0 && t.TaskStatus >= 0 && t.TaskStatus < 100 {
			progress.show(t)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(watchEvery):
			}
			continue
		}
		progress.end()
		if err := showTask(cmd, t); err != nil {
			return err
		}
		switch {
		case t.TaskStatus < 0 && t.TaskStatus != -3, t.TaskStatus == -3 && kind != "image_scan":
			return fmt.Errorf("the task has %s", strings.Replace(stateOf(t), "stopped", "been stopped", 1))
		case kind == "image_sync" && t.FailedNum > 0:
			return fmt.Errorf("%d registries could not be synchronised: %s", t.FailedNum, t.FailedReason)
		case t.FailedNum > 0 || t.TaskStatus < 0:
			return errFailedImages
		}
		return nil
	}
}

func findTask(ctx context.Context, c *adminClient, kind, id string) (hssapi.ImageScanTaskInfo, error) {
	found, _, err := listed[hssapi.ImageScanTaskInfo](ctx, c, "/image/tasks", url.Values{"type": {kind}, "task_id": {id}}, 0)
	if err != nil {
		return hssapi.ImageScanTaskInfo{}, err
	}
	for _, t := range found {
		if t.TaskID == id {
			return t, nil
		}
	}
	return hssapi.ImageScanTaskInfo{}, fmt.Errorf("there is no task %q of the type %s; see tidewaiter task list", id, kind)
}

// unitOf is what a task counts.
func unitOf(t hssapi.ImageScanTaskInfo) string {
	switch tidewaiter.SyncTaskKind(t.TaskType) {
	case tidewaiter.ManualSync, tidewaiter.AutoSync:
		return "registries"
	}
	return "images"
}

func showTask(cmd *cobra.Command, t hssapi.ImageScanTaskInfo) error {
	if done, err := writeAs(cmd, t); done {
		return err
	}
	err := showOne(cmd, t, "task", t.TaskID, "state", stateOf(t), unitOf(t), fmt.Sprint(t.TotalNum), "done", fmt.Sprint(t.SuccessNum), "failed", fmt.Sprint(t.FailedNum))
	if err != nil || len(t.FailedImages) == 0 {
		return err
	}
	fmt.Fprintln(cmd.OutOrStdout())
	return show(cmd, t.FailedImages, "IMAGE REGISTRY REASON", func(f hssapi.ImageScanTaskInfoFailedImages) []any {
		return []any{referenceOf(f.Namespace, f.ImageName, f.ImageVersion), f.RegistryName, f.FailedDetail}
	})
}

func (p *program) taskStop() *cobra.Command {
	cmd := p.named("stop TASK", "Stop a scan: what is under way ends soon, nothing new begins", func(ctx context.Context, c *adminClient, _ *cobra.Command, id string) error {
		return c.hss(ctx, http.MethodPut, "/image/image-scan/tasks/"+url.PathEscape(id)+"/stop", nil, nil, nil)
	})
	cmd.Example = "  tidewaiter task stop 0123456789abcdef0123456789abcdef"
	return cmd
}

// progress shows how far a task is: in place on a terminal, else line by line.
type progress struct {
	w        io.Writer
	terminal bool
	last     string
}

func newProgress(w io.Writer) *progress {
	f, ok := w.(*os.File)
	return &progress{w: w, terminal: ok && term.IsTerminal(int(f.Fd()))} //nolint:gosec // descriptors are small
}

func (p *progress) show(t hssapi.ImageScanTaskInfo) {
	line := fmt.Sprintf("%3d%%  %d of %d %s", t.TaskStatus, t.SuccessNum+t.FailedNum, t.TotalNum, unitOf(t))
	if t.FailedNum > 0 {
		line += fmt.Sprintf(", %d failed", t.FailedNum)
	}
	if t.RemainMin > 0 {
		line += fmt.Sprintf(", about %d min left", t.RemainMin)
	}
	if t.FailedReason != "" {
		line += ": " + printable(t.FailedReason)
	}
	if line == p.last {
		return
	}
	if p.terminal {
		const width = 30
		done := width * int(max(t.TaskStatus, 0)) / 100
		fmt.Fprint(p.w, "\r\x1b[K["+strings.Repeat("#", done)+strings.Repeat(".", width-done)+"] "+line)
	} else {
		fmt.Fprintln(p.w, line)
	}
	p.last = line
}

func (p *progress) end() {
	if p.terminal && p.last != "" {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
	p.last = ""
}
