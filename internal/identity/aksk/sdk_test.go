package aksk

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/signer"
	sdkrequest "github.com/huaweicloud/huaweicloud-sdk-go-v3/core/request"
	"pgregory.net/rapid"
)

// TestWhatTheSDKSigns signs random requests with the vendor's own SDK, sends
// them over the wire, and verifies them as a server reads them.
func TestWhatTheSDKSigns(t *testing.T) {
	text := rapid.StringOfN(rapid.OneOf(rapid.Rune(), rapid.RuneFrom([]rune("abcXYZ019-_.~!*'()+ %/?#&=:;@,$\"\\<>[]{}|^`é中😀"))), 0, 20, -1)
	segment := rapid.Map(text, func(s string) string {
		return strings.Map(func(r rune) rune {
			if r == '/' {
				return -1
			}
			return r
		}, s)
	})
	headerValue := rapid.StringMatching(`[ \t]{0,2}[!-~]([ -~]{0,30}[!-~])?[ \t]{0,2}`)
	rapid.Check(t, func(t *rapid.T) {
		b := sdkrequest.NewHttpRequestBuilder().
			WithEndpoint("http://server.example:8080").
			WithMethod(rapid.SampledFrom([]string{"GET", "POST", "PUT", "DELETE", "PATCH"}).Draw(t, "method")).
			WithPath("/v5/" + strings.Join(rapid.SliceOfN(segment, 0, 4).Draw(t, "path"), "/"))
		for key, values := range rapid.MapOfN(text.Filter(func(s string) bool { return s != "" }), rapid.SliceOfN(text, 1, 3), 0, 5).Draw(t, "query") {
			if len(values) == 1 {
				b.AddQueryParam(key, reflect.ValueOf(values[0]))
			} else {
				b.AddQueryParam(key, reflect.ValueOf(values))
			}
		}
		b.AddHeaderParam("Content-Type", "application/json")
		b.AddHeaderParam("User-Agent", "huaweicloud-usdk-go/3.0")
		names := rapid.StringMatching(`[Xx]-[A-Za-z][a-zA-Z0-9-]{0,10}`).Filter(func(s string) bool { return !reserved(s) })
		seen := map[string]bool{}
		for name, value := range rapid.MapOfN(names, headerValue, 0, 5).Draw(t, "header") {
			if lower := strings.ToLower(name); !seen[lower] {
				seen[lower] = true
				b.AddHeaderParam(name, value)
			}
		}
		if rapid.Bool().Draw(t, "has body") {
			b.WithBody("body", map[string]string{"k": text.Draw(t, "body")})
		}
		out := b.Build()
		added, err := signer.Sign(out, "AKEXAMPLE", "SKEXAMPLE")
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range added {
			out.AddHeaderParam(k, v)
		}
		wire, err := out.ConvertRequest()
		if err != nil {
			t.Skip("the SDK itself refuses it")
		}
		var buf bytes.Buffer
		if err := wire.Write(&buf); err != nil {
			t.Skip("net/http refuses to send it")
		}
		sent := buf.String()
		in, err := http.ReadRequest(bufio.NewReader(&buf))
		if err != nil {
			t.Skip("net/http refuses to read it")
		}
		body, err := io.ReadAll(in.Body)
		if err != nil {
			t.Fatal(err)
		}
		if err := check(in, body, "SKEXAMPLE", time.Now()); err != nil {
			canonical, _ := appendCanonical(nil, in, "x-sdk-date", "")
			t.Fatalf("%v\nsent:\n%s\ncanonical:\n%s", err, sent, canonical)
		}
	})
}

// reserved headers mean something to net/http or to the algorithm.
func reserved(name string) bool {
	name = strings.ToLower(name)
	return strings.HasPrefix(name, "x-sdk-") || name == "x-project-id" || name == "x-security-token"
}

// TestSignIsWhatTheSDKSends compares our signer with the SDK's.
func TestSignIsWhatTheSDKSends(t *testing.T) {
	now := time.Date(2026, 11, 23, 11, 20, 24, 0, time.UTC)
	body := "{\"a\":\"b\"}\n"
	sdk := sdkrequest.NewHttpRequestBuilder().WithEndpoint("http://h").WithMethod("POST").WithPath("/v5/p q/x").
		AddQueryParam("a", reflect.ValueOf("1 2")).AddHeaderParam("X-Sdk-Date", now.Format(DateFormat)).
		AddHeaderParam("X-Project-Id", "p").AddHeaderParam("Content-Type", "application/json").
		WithBody("body", map[string]string{"a": "b"}).Build()
	want, err := signer.Sign(sdk, "AKEXAMPLE", "SKEXAMPLE")
	if err != nil {
		t.Fatal(err)
	}
	r := &http.Request{Method: "POST", URL: &url.URL{Scheme: "http", Host: "h", Path: "/v5/p q/x", RawQuery: "a=1%202"},
		Header: http.Header{"X-Project-Id": {"p"}, "Content-Type": {"application/json"}}}
	if err := Sign(r, "AKEXAMPLE", []byte("SKEXAMPLE"), []byte(body), now); err != nil {
		t.Fatal(err)
	}
	if got := r.Header.Get("Authorization"); got != want["Authorization"] {
		t.Errorf("got  %s\nwant %s", got, want["Authorization"])
	}
}
