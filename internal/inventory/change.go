package inventory

import (
	"reflect"
	"slices"

	"github.com/tidewaiter/tidewaiter"
)

// NewRegistry is a connection that a user wants. Settings that are nil have
// their zero value.
type NewRegistry struct {
	ProjectID, EnterpriseProjectID string
	Name                           string
	Type                           tidewaiter.RegistryType
	APIVersion, Protocol, Address  string
	Username, Password             string
	Namespace, ClusterID, Channel  string
	Settings                       SettingsChange
}

// RegistryChange is what a user wants to be otherwise; nil is as it is. The
// secrets are Password, Settings.Proxy and Settings.SWRSecretKey.
type RegistryChange struct {
	APIVersion, Protocol, Address *string
	Username, Password            *string
	Namespace, ClusterID, Channel *string
	Settings                      SettingsChange
}

// SettingsChange is what of [tidewaiter.RegistrySettings] is to be otherwise;
// nil is as it is. The two secrets are sealed on arrival; "" removes them.
type SettingsChange struct {
	CA                       *string
	SkipTLSVerify            *bool
	TokenHosts               *[]string
	Include, Exclude         *[]string
	IncludeTags, ExcludeTags *[]string
	Repositories             *[]string
	RequestBudget            *int
	SyncAt                   *string
	SWRAPI, SWRProjectID     *string
	SWRInstanceID            *string
	SWRInstanceName          *string
	SWRAccessKey             *string
	ArtifactoryWay           *string
	Proxy, SWRSecretKey      *string
	TrustAttachedVEX         *bool
}

// set replaces a value unless nothing is given.
func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

func (c RegistryChange) apply(r *tidewaiter.Registry) {
	set(&r.APIVersion, c.APIVersion)
	set(&r.Protocol, c.Protocol)
	set(&r.Address, c.Address)
	set(&r.Username, c.Username)
	set(&r.Namespace, c.Namespace)
	set(&r.ClusterID, c.ClusterID)
	set(&r.Channel, c.Channel)
	c.Settings.apply(&r.Settings)
}

func (c SettingsChange) apply(s *tidewaiter.RegistrySettings) {
	set(&s.CA, c.CA)
	set(&s.SkipTLSVerify, c.SkipTLSVerify)
	for _, list := range []struct{ to, from *[]string }{
		{&s.TokenHosts, c.TokenHosts}, {&s.Include, c.Include}, {&s.Exclude, c.Exclude},
		{&s.IncludeTags, c.IncludeTags}, {&s.ExcludeTags, c.ExcludeTags}, {&s.Repositories, c.Repositories},
	} {
		if list.from != nil {
			*list.to = slices.Clone(*list.from)
		}
	}
	set(&s.RequestBudget, c.RequestBudget)
	set(&s.SyncAt, c.SyncAt)
	set(&s.SWRAPI, c.SWRAPI)
	set(&s.SWRProjectID, c.SWRProjectID)
	set(&s.SWRInstanceID, c.SWRInstanceID)
	set(&s.SWRInstanceName, c.SWRInstanceName)
	set(&s.SWRAccessKey, c.SWRAccessKey)
	set(&s.ArtifactoryWay, c.ArtifactoryWay)
	set(&s.TrustAttachedVEX, c.TrustAttachedVEX)
}

// sameReach tells whether two versions of a registry are reached alike, so
// that what an access check found out about one holds for the other.
func sameReach(a, b tidewaiter.Registry) bool {
	if a.APIVersion != b.APIVersion || a.Protocol != b.Protocol || a.Address != b.Address ||
		a.Username != b.Username || a.ClusterID != b.ClusterID {
		return false
	}
	return reflect.DeepEqual(reach(a.Settings), reach(b.Settings))
}

// reach returns the settings less those that say what to list, how fast and
// when, and whom to believe.
func reach(s tidewaiter.RegistrySettings) tidewaiter.RegistrySettings {
	s.Include, s.Exclude, s.IncludeTags, s.ExcludeTags = nil, nil, nil, nil
	s.RequestBudget, s.SyncAt, s.SWRInstanceName, s.TrustAttachedVEX = 0, "", "", false
	// An empty list and none are the same.
	s.TokenHosts = append([]string(nil), s.TokenHosts...)
	s.Repositories = append([]string(nil), s.Repositories...)
	return s
}
