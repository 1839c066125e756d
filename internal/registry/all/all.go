// Package all knows every connector.
package all

import (
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/registry"
	"github.com/tidewaiter/tidewaiter/internal/registry/artifactory"
	"github.com/tidewaiter/tidewaiter/internal/registry/harbor"
	"github.com/tidewaiter/tidewaiter/internal/registry/oci"
	"github.com/tidewaiter/tidewaiter/internal/registry/swr"
)

// New returns the connector for the type of the client's registry. Errors are
// of kind Invalid and name the field.
func New(client *registry.Client) (registry.Connector, error) {
	switch client.Config().Type {
	case registry.Harbor:
		return harbor.New(client), nil
	case registry.Jfrog:
		return artifactory.New(client), nil
	case registry.SwrPrivate, registry.SwrShared, registry.SwrEnterprise:
		c, err := swr.New(client, time.Now)
		if err != nil {
			return nil, err
		}
		return c, nil
	case registry.Other:
		return oci.New(client), nil
	}
	return nil, tidewaiter.InvalidField("registry_type", "is none that is known; use Harbor, Jfrog, SwrPrivate, SwrShared, SwrEnterprise or Other")
}
