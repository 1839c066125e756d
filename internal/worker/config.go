package worker

import (
	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/protocol"
	"github.com/tidewaiter/tidewaiter/internal/registry"
	"github.com/tidewaiter/tidewaiter/internal/seal"
)

// config opens the secrets of a registry and says how it is reached, or what
// the server is told if that cannot be.
func (j *job) config(r protocol.Registry) (registry.Config, *protocol.FinishRequest) {
	origin, err := seal.Origin(r.Protocol, r.Address)
	if err != nil {
		return registry.Config{}, refusedSetting(err)
	}
	address, err := tidewaiter.ParseRegistryAddress(r.Address)
	if err != nil {
		return registry.Config{}, refusedSetting(err)
	}
	c := registry.Config{
		Type: r.Type, APIVersion: r.APIVersion, Protocol: r.Protocol, Address: address,
		Username: r.Username, Namespace: tidewaiter.Namespace(r.Namespace),
		CA: []byte(r.CA), SkipTLSVerify: r.SkipTLSVerify, TokenHosts: r.TokenHosts,
		Include: r.Include, Exclude: r.Exclude, IncludeTags: r.IncludeTags, ExcludeTags: r.ExcludeTags,
		Repositories: r.Repositories, RequestBudget: r.RequestBudget,
		SWR:            registry.SWR{API: r.SWRAPI, ProjectID: r.SWRProjectID, InstanceID: r.SWRInstanceID, AccessKey: r.SWRAccessKey},
		ArtifactoryWay: registry.ArtifactoryWay(r.ArtifactoryWay),
	}
	for _, secret := range []struct {
		name string
		to   *string
	}{
		{tidewaiter.SecretPassword, &c.Password},
		{tidewaiter.SecretProxy, &c.Proxy},
		{tidewaiter.SecretSWRKey, &c.SWR.SecretKey},
	} {
		sealed, ok := r.Secrets[secret.name]
		if !ok {
			continue
		}
		*secret.to, err = j.key.Open(sealed, seal.Binding{RegistryID: r.ID, Name: secret.name, Origin: origin, Username: r.Username})
		if err != nil {
			j.log.Warn("a secret of the registry cannot be used", "registry", r.ID, "secret", secret.name, "error", err)
			return registry.Config{}, refusedSecret(secret.name, err)
		}
	}
	return c, nil
}

// refusedSetting is the result of work about a registry that cannot be reached
// as it is described.
func refusedSetting(err error) *protocol.FinishRequest {
	return failed(tidewaiter.FailRequestAPI, err.Error())
}

// refusedSecret is the result of work whose secret does not open, or is for
// something else.
func refusedSecret(name string, err error) *protocol.FinishRequest {
	what := map[string]string{
		tidewaiter.SecretPassword: "the password",
		tidewaiter.SecretProxy:    "the proxy's URL",
		tidewaiter.SecretSWRKey:   "the secret access key of SWR",
	}[name]
	result := failed(tidewaiter.FailRequestAPI, what+" cannot be used: "+err.Error()+" (UpdateRegistry; give the password again)")
	result.Failure.Credential = true
	return result
}
