package console

import (
	"bytes"
	"net/http"
	"time"
)

// stream sends the live part of a page at once, and again whenever it has
// changed, until the client goes, the session ends or the server stops.
func (c *console) stream(w http.ResponseWriter, in *request, template string, load loader) {
	select {
	case c.streams <- struct{}{}:
		defer func() { <-c.streams }()
	default:
		http.Error(w, "too many pages are live", http.StatusServiceUnavailable)
		return
	}
	out := http.NewResponseController(w)
	if err := out.SetReadDeadline(time.Time{}); err != nil {
		c.log.WarnContext(in.Context(), "a stream keeps its deadline", "error", err)
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // for proxies that collect answers
	w.WriteHeader(http.StatusOK)

	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var last []byte
	for quiet := 0; ; quiet++ {
		event := c.event(in, template, load)
		switch {
		case event == nil:
			w.Write([]byte("event: end\ndata:\n\n")) //nolint:errcheck // it is over
			return
		case !bytes.Equal(event, last):
			last, quiet = event, 0
			if _, err := w.Write(event); err != nil {
				return
			}
		case quiet%20 == 19: // so that proxies see that the connection is alive
			if _, err := w.Write([]byte(":\n\n")); err != nil {
				return
			}
		}
		if out.Flush() != nil {
			return
		}
		select {
		case <-in.Context().Done():
			return
		case <-c.stop:
			return
		case <-ticker.C:
		}
	}
}

// event returns the live part of a page as an event, nil when the page is no
// longer there for the caller.
func (c *console) event(in *request, template string, load loader) []byte {
	again, err := c.session(in.Request) // a session may have ended meanwhile
	if err != nil {
		return nil
	}
	p, err := c.newPage(again, template)
	if err != nil {
		return nil
	}
	if p.Content, err = load(again.Context(), again); err != nil {
		return nil
	}
	var b bytes.Buffer
	if err := c.pages.execute(&b, template, "live", p); err != nil {
		c.log.ErrorContext(in.Context(), "a live part could not be rendered", "template", template, "error", err)
		return nil
	}
	var event bytes.Buffer
	for line := range bytes.Lines(visible(b.Bytes())) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			event.WriteString("data: ")
			event.Write(line)
			event.WriteByte('\n')
		}
	}
	event.WriteByte('\n')
	return event.Bytes()
}
