package registry

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/tidewaiter/tidewaiter"
)

// AccessKey returns the access key and secret key for the management API of
// SWR: those that are given, or else, for the shared and private editions, the
// user name (AK, or REGION@AK as docker login has it) and the password, unless
// that is a login key already (64 hexadecimal digits), from which the secret
// key cannot be had.
func (c Config) AccessKey() (access, secret string, ok bool) {
	if c.SWR.AccessKey != "" && c.SWR.SecretKey != "" {
		return c.SWR.AccessKey, c.SWR.SecretKey, true
	}
	if c.Type != SwrPrivate && c.Type != SwrShared || c.Username == "" || isLoginKey(c.Password) {
		return "", "", false
	}
	_, access, found := strings.Cut(c.Username, "@")
	if !found {
		access = c.Username
	}
	return access, c.Password, true
}

// login returns what /v2/ and token services are given. For SWR it is derived
// from the keys as the documentation of SWR says how
// (https://support.huaweicloud.com/intl/en-us/usermanual-swr/swr_01_1000.html):
// the user is REGION@AK, the password HMAC-SHA256 of AK with key SK, in hex.
func (c Config) login() (username, password string) {
	if c.Type != SwrPrivate && c.Type != SwrShared || isLoginKey(c.Password) {
		return c.Username, c.Password
	}
	access, secret, ok := c.AccessKey()
	if !ok {
		return c.Username, c.Password
	}
	region, _, found := strings.Cut(c.Username, "@")
	if !found {
		if labels := strings.Split(c.Address.Host, "."); len(labels) > 1 {
			region = labels[1] // swr.REGION.example.com
		}
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(access))
	return region + "@" + access, hex.EncodeToString(mac.Sum(nil))
}

// SWRAPI returns where SWR's management API is: as given, or else
// swr-api.REST for a registry at swr.REST. Errors are of kind Invalid and name
// the field.
func (c Config) SWRAPI() (Origin, error) {
	host := c.SWR.API
	if host == "" {
		rest, ok := strings.CutPrefix(c.Address.Host, "swr.")
		if !ok {
			return Origin{}, tidewaiter.InvalidField("swr_api", "is empty, and cannot be derived from an address that does not begin with swr.; give the host of SWR's API, such as swr-api.REGION.myhuaweicloud.com")
		}
		host = "swr-api." + rest
	}
	o, err := hostOrigin(host)
	if err != nil {
		return Origin{}, tidewaiter.InvalidField("swr_api", "is no host or host:port; write it as in swr-api.REGION.myhuaweicloud.com")
	}
	return o, nil
}

func isLoginKey(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == sha256.Size
}
