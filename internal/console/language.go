package console

import (
	_ "embed"
	"encoding/json"
	"sync"
)

// zh is the texts of the pages in Simplified Chinese, by the English ones.
//
//go:embed zh.json
var zh []byte

var chinese = sync.OnceValue(func() map[string]string { //nolint:gochecknoglobals // read once, never changed
	texts := map[string]string{}
	if err := json.Unmarshal(zh, &texts); err != nil {
		panic("zh.json: " + err.Error()) // a test reads it
	}
	return texts
})

// translate returns a text of the pages in a language. What has no translation,
// such as the words of the API's errors, stays as it is.
func translate(language, text string) string {
	if language == "zh" {
		if t, ok := chinese()[text]; ok {
			return t
		}
	}
	return text
}
