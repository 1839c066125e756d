package protocol_test

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/protocol"
)

func readDocs(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestDocsShowEveryMessage reads each example in docs/protocol.md as the type
// that it names, and wants each field of each type to be in some example.
func TestDocsShowEveryMessage(t *testing.T) {
	bodies := map[string]any{
		"EnrolRequest": &protocol.EnrolRequest{}, "EnrolResponse": &protocol.EnrolResponse{},
		"HelloRequest": &protocol.HelloRequest{}, "HelloResponse": &protocol.HelloResponse{},
		"LeaseRequest": &protocol.LeaseRequest{}, "Work": &protocol.Work{},
		"HeartbeatRequest": &protocol.HeartbeatRequest{}, "HeartbeatResponse": &protocol.HeartbeatResponse{},
		"PendingRequest": &protocol.PendingRequest{}, "PendingResponse": &protocol.PendingResponse{},
		"UnknownRequest": &protocol.UnknownRequest{}, "UnknownResponse": &protocol.UnknownResponse{},
		"RepositoryReport": &protocol.RepositoryReport{}, "FinishRequest": &protocol.FinishRequest{},
		"LayersRequest": &protocol.LayersRequest{}, "LayersResponse": &protocol.LayersResponse{},
		"LayerReport": &protocol.LayerReport{}, "ImageReport": &protocol.ImageReport{}, "AttachedReport": &protocol.AttachedReport{},
	}
	shown := make(map[string]bool)
	for _, block := range regexp.MustCompile("(?s)```json (\\w+)\n(.*?)```").FindAllStringSubmatch(readDocs(t), -1) {
		name, text := block[1], block[2]
		kind, ok := bodies[name]
		if !ok {
			t.Errorf("an example of %s, which is no body", name)
			continue
		}
		body := reflect.New(reflect.TypeOf(kind).Elem()).Interface()
		dec := json.NewDecoder(strings.NewReader(text))
		dec.DisallowUnknownFields()
		if err := dec.Decode(body); err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
			continue
		}
		again, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(untyped(t, []byte(text)), untyped(t, again)); diff != "" {
			t.Errorf("%s is not as the program writes it (-docs +program):\n%s", name, diff)
		}
		note(shown, reflect.ValueOf(body))
	}
	for name, body := range bodies {
		for _, field := range fieldsOf(reflect.TypeOf(body)) {
			if !shown[field] {
				t.Errorf("no example of %s shows %s", name, field)
			}
		}
	}
}

func untyped(t *testing.T, b []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// ours tells whether a type is a struct of the protocol.
func ours(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && strings.HasSuffix(t.PkgPath(), "internal/protocol")
}

// note notes the fields that have a value.
func note(shown map[string]bool, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			note(shown, v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			note(shown, v.Index(i))
		}
	case reflect.Struct:
		if !ours(v.Type()) {
			return
		}
		for i := range v.NumField() {
			// An example that says stop is false shows it well enough.
			if v.Field(i).Kind() == reflect.Bool || !v.Field(i).IsZero() {
				shown[v.Type().Name()+"."+v.Type().Field(i).Name] = true
			}
			note(shown, v.Field(i))
		}
	}
}

// fieldsOf returns the fields of a type and of those within it.
func fieldsOf(t reflect.Type) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if !ours(t) {
		return nil
	}
	var names []string
	for i := range t.NumField() {
		names = append(names, t.Name()+"."+t.Field(i).Name)
		names = append(names, fieldsOf(t.Field(i).Type)...)
	}
	return names
}

// TestDocsShowTheSignature holds the worked example against the request that
// OpenSSL signed, which the other tests verify.
func TestDocsShowTheSignature(t *testing.T) {
	docs := readDocs(t)
	for file, fence := range map[string]string{"testdata/signed.http": "http", "testdata/signature-base.txt": "text"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(docs, "```"+fence+"\n"+string(bytes.TrimSpace(text))+"\n```") {
			t.Errorf("docs/protocol.md does not show %s", file)
		}
	}
}

// TestDocsNameEverything wants each path and each code to be named.
func TestDocsNameEverything(t *testing.T) {
	docs := readDocs(t)
	for _, word := range []string{
		protocol.PathEnrol, protocol.PathHello, protocol.PathLease, protocol.PathWork, protocol.PathHeartbeat,
		protocol.PathPending, protocol.PathUnknown, protocol.PathRepository, protocol.PathFinish,
		"`" + protocol.ErrUnknownComponent + "`", "`" + protocol.ErrSignature + "`", "`" + protocol.ErrHelloRequired + "`",
		"`" + protocol.ErrLeaseLost + "`", "`" + protocol.ErrVersion + "`",
		"`" + protocol.OutcomeDone + "`", "`" + protocol.OutcomeFailed + "`", "`" + protocol.OutcomeReleased + "`",
	} {
		if !strings.Contains(docs, word) {
			t.Errorf("docs/protocol.md does not name %s", word)
		}
	}
}
