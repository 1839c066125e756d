package inventory

import (
	"crypto/x509"
	"encoding/pem"
	"net/url"
	"slices"
	"strings"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// The longest legal values, in characters, unless the contract says otherwise
// in the root package.
const (
	maxName     = 128
	maxUsername = 128
	maxPassword = 128
	maxID       = 64
	maxProxy    = 512
	maxCA       = 64 << 10 // bytes

	maxTokenHosts   = 20
	maxRepositories = 1_000
	maxBudget       = 1_000_000
)

// The ways in which a cluster may get the scan component, in the contract's words.
const (
	channelSwr   = "Swr"
	channelOther = "Other"
)

// checkRegistry refuses what no connection can be. The cluster is not looked up.
func checkRegistry(r tidewaiter.Registry) error {
	if err := tidewaiter.CheckText("registry_name", r.Name, maxName); err != nil {
		return err
	}
	switch {
	case strings.TrimSpace(r.Name) != r.Name:
		return tidewaiter.InvalidField("registry_name", "begins or ends with a blank; leave it out")
	case !slices.Contains(tidewaiter.RegistryTypes(), r.Type):
		return tidewaiter.InvalidField("registry_type", "is none that is known; use Harbor, Jfrog, SwrPrivate, SwrShared, SwrEnterprise or Other")
	case r.APIVersion != "V1" && r.APIVersion != "V2":
		return tidewaiter.InvalidField("api_version", "is neither V1 nor V2; use one of them (V2 for all current products)")
	case r.Protocol != "http" && r.Protocol != "https":
		return tidewaiter.InvalidField("protocol", "is neither http nor https; use one of them")
	case r.Channel != channelSwr && r.Channel != channelOther:
		return tidewaiter.InvalidField("get_scan_image_channel", "is neither Swr nor Other; use one of them")
	case r.Channel == channelOther && r.Namespace == "":
		return tidewaiter.InvalidField("namespace", "is empty; it is needed if get_scan_image_channel is Other: name the project of the registry that holds the scan component")
	}
	address, err := tidewaiter.ParseRegistryAddress(r.Address)
	if err != nil {
		return err
	}
	if address.Scheme != "" && address.Scheme != r.Protocol {
		return tidewaiter.InvalidField("registry_addr", "begins with another scheme than protocol says; make them agree, or leave the scheme out of the address")
	}
	if err := tidewaiter.CheckText("registry_username", r.Username, maxUsername); err != nil {
		return err
	}
	if strings.Contains(r.Username, ":") {
		return tidewaiter.InvalidField("registry_username", "has a colon, which basic authentication cannot carry; use a user without it")
	}
	if r.Namespace != "" {
		if _, err := tidewaiter.ParseNamespace(r.Namespace); err != nil {
			return err
		}
	}
	if err := tidewaiter.CheckText("connect_cluster_id", r.ClusterID, maxID); err != nil {
		return err
	}
	return checkSettings(r.Settings)
}

func checkSettings(s tidewaiter.RegistrySettings) error {
	if err := checkCA(s.CA); err != nil {
		return err
	}
	if len(s.TokenHosts) > maxTokenHosts {
		return tidewaiter.InvalidField("token_hosts", "has more than %d entries; name only the hosts that give tokens for this registry", maxTokenHosts)
	}
	for _, host := range s.TokenHosts {
		if err := checkHost("token_hosts", host); err != nil {
			return err
		}
	}
	for _, p := range []struct {
		field    string
		patterns []string
	}{{"include", s.Include}, {"exclude", s.Exclude}, {"include_tags", s.IncludeTags}, {"exclude_tags", s.ExcludeTags}} {
		if err := registry.CheckPatterns(p.field, p.patterns); err != nil {
			return err
		}
	}
	if len(s.Repositories) > maxRepositories {
		return tidewaiter.InvalidField("repositories", "has more than %d names; connect the registry several times, each with a part of them", maxRepositories)
	}
	for i, name := range s.Repositories {
		if problem := registry.CheckRepository(name); problem != "" {
			return tidewaiter.InvalidField("repositories", "number %d is no repository: %s; write it as in team/app, without the registry's address and without a tag", i+1, problem)
		}
	}
	if s.RequestBudget < 0 || s.RequestBudget > maxBudget {
		return tidewaiter.InvalidField("request_budget", "is out of range; give requests per hour up to %d, or 0 for no limit", maxBudget)
	}
	if s.SyncAt != "" {
		if err := checkSyncAt("sync_at", s.SyncAt); err != nil {
			return err
		}
	}
	switch s.ArtifactoryWay {
	case "", string(registry.ArtifactoryPath), string(registry.ArtifactorySubdomain), string(registry.ArtifactoryPort):
	default:
		return tidewaiter.InvalidField("artifactory_way", "is unknown; use repository-path, sub-domain or port, or leave it empty to find out by looking")
	}
	return checkSWR(s)
}

func checkSWR(s tidewaiter.RegistrySettings) error {
	if s.SWRAPI != "" {
		if err := checkHost("swr_api", s.SWRAPI); err != nil {
			return err
		}
	}
	for _, id := range []struct{ field, value string }{
		{"swr_project_id", s.SWRProjectID}, {"swr_instance_id", s.SWRInstanceID}, {"swr_access_key", s.SWRAccessKey},
	} {
		if err := checkID(id.field, id.value); err != nil {
			return err
		}
	}
	if s.SWRInstanceName != "" {
		return tidewaiter.CheckText("swr_instance_name", s.SWRInstanceName, maxName)
	}
	return nil
}

// checkID accepts "" and the ids that clouds give out, which end up in URLs.
func checkID(field, id string) error {
	if len(id) > maxName {
		return tidewaiter.InvalidField(field, "is too long; give at most %d characters", maxName)
	}
	for _, c := range []byte(id) {
		if !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return tidewaiter.InvalidField(field, "has a character that no id has; use letters, digits, '-' and '_'")
		}
	}
	return nil
}

// checkHost accepts host and host:port.
func checkHost(field, host string) error {
	a, err := tidewaiter.ParseRegistryAddress(host)
	if err != nil || a.Scheme != "" {
		return tidewaiter.InvalidField(field, "has what is no host or host:port; write it as in auth.example.com or auth.example.com:8443")
	}
	return nil
}

func checkSyncAt(field, at string) error {
	if at == syncOff {
		return nil
	}
	if _, _, ok := clockTime(at); !ok {
		return tidewaiter.InvalidField(field, "is no time of day; write hours and minutes as in 01:00, or off")
	}
	return nil
}

// checkCA accepts "" and one or several certificates in PEM form.
func checkCA(text string) error {
	if text == "" {
		return nil
	}
	if len(text) > maxCA {
		return tidewaiter.InvalidField("ca", "is longer than %d bytes; give only the certificates of the authority that signed the registry's", maxCA)
	}
	n := 0
	for rest := []byte(text); ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if strings.Contains(block.Type, "PRIVATE KEY") {
			return tidewaiter.InvalidField("ca", "holds a private key, which nobody but its owner may have; give the certificate alone, and replace that key")
		}
		if block.Type != "CERTIFICATE" {
			return tidewaiter.InvalidField("ca", "holds something other than certificates; give only the blocks from BEGIN CERTIFICATE to END CERTIFICATE")
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return tidewaiter.InvalidField("ca", "number %d is no certificate; copy the file again, whole", n+1)
		}
	}
	if n == 0 {
		return tidewaiter.InvalidField("ca", "holds no certificate; give one or several in PEM form, each with its BEGIN CERTIFICATE line")
	}
	return nil
}

// checkProxy accepts the URL of a forward proxy. The URL may hold a password,
// so no error of net/url is passed on.
func checkProxy(s string) error {
	const field = "proxy"
	if err := tidewaiter.CheckText(field, s, maxProxy); err != nil {
		return err
	}
	u, err := url.Parse(s)
	switch {
	case err != nil, u.Opaque != "", u.Hostname() == "":
		return tidewaiter.InvalidField(field, "is no address of a proxy; write http://host:port, or http://user:password@host:port with the special characters of the password percent-encoded")
	case u.Scheme != "http" && u.Scheme != "https":
		return tidewaiter.InvalidField(field, "is neither http:// nor https://; other kinds of proxy are not supported")
	case strings.Trim(u.Path, "/") != "", u.RawQuery != "", u.Fragment != "":
		return tidewaiter.InvalidField(field, "has a path, a query or a fragment; write scheme, host and port only")
	}
	if _, err := tidewaiter.ParseRegistryAddress(u.Host); err != nil {
		return tidewaiter.InvalidField(field, "has a host or a port that cannot exist; write http://host:port")
	}
	return nil
}
