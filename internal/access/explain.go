package access

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// Explain says in one sentence what is wrong and what to do about it. It uses
// names from certificates, cleaned, and nothing else that a stranger wrote.
func Explain(err error, c registry.Config, now time.Time) string {
	if err == nil {
		return errUnreached.Error()
	}
	if s := explainCertificate(err, now); s != "" {
		return s
	}
	if s := explainNetwork(err, c); s != "" {
		return s
	}
	switch registry.ReasonOf(err) {
	case registry.ReasonForbidden:
		return "the registry knows the user and does not allow this; " + roleFor(c.Type)
	}
	if e, ok := errors.AsType[*tidewaiter.Error](err); ok {
		if e.Field != "" {
			return e.Field + ": " + e.Message
		}
		return e.Message
	}
	return "something went wrong in the scan component; look into its log, or try again later"
}

func roleFor(t registry.Type) string {
	switch t {
	case registry.Harbor:
		return "in Harbor, make it a member of the projects (limited guest or more), or give the robot account the permissions to list and pull repositories, artifacts and tags"
	case registry.Jfrog:
		return "in Artifactory, give it read permission on the docker repositories"
	case registry.SwrPrivate, registry.SwrShared, registry.SwrEnterprise:
		return "in SWR, give it read permission on the organizations (SWR ReadOnlyAccess or more)"
	}
	return "give it a role that may list and pull"
}

func explainCertificate(err error, now time.Time) string {
	if e, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		issuer := "unknown"
		if e.Cert != nil {
			issuer = clean(e.Cert.Issuer.String())
		}
		return fmt.Sprintf("the registry's certificate is signed by an authority that is not trusted here (%s); give that authority's certificate as the CA bundle of this registry", issuer)
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		names := "none"
		if e.Certificate != nil && len(e.Certificate.DNSNames) > 0 {
			names = clean(strings.Join(e.Certificate.DNSNames, ", "))
		}
		return fmt.Sprintf("the registry's certificate is for other names than this address (%s); use one of them, or give the registry a certificate with this name", names)
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if e.Reason == x509.Expired && e.Cert != nil {
			if now.Before(e.Cert.NotBefore) {
				return fmt.Sprintf("the registry's certificate is valid only from %s on; check the clock of this machine, or renew the certificate", e.Cert.NotBefore.UTC().Format(time.DateOnly))
			}
			return fmt.Sprintf("the registry's certificate expired on %s; renew it, or check the clock of this machine", e.Cert.NotAfter.UTC().Format(time.DateOnly))
		}
		return "the registry's certificate cannot be used for a server; issue a new one"
	}
	if e, ok := errors.AsType[tls.AlertError](err); ok {
		return fmt.Sprintf("the registry breaks off the TLS handshake (%s); it may want TLS 1.1 or older, or a client's certificate", clean(e.Error()))
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "the registry's certificate cannot be verified; give the authority that signed it as the CA bundle of this registry"
	}
	return ""
}

func explainNetwork(err error, c registry.Config) string {
	what := "registry"
	if c.Proxy != "" {
		what = "proxy"
	} else if f, ok := errors.AsType[*registry.Failure](err); ok && f.At.Host != "" && f.At != c.Origin() {
		what = "host to which the registry sends us (" + clean(f.At.String()) + ")"
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		switch {
		case e.IsNotFound:
			return fmt.Sprintf("the name of the %s is not known to DNS here; check its spelling, and that this machine uses the DNS server that knows it", what)
		case e.IsTimeout:
			return fmt.Sprintf("the DNS server does not answer about the name of the %s; check this machine's DNS settings", what)
		}
		return fmt.Sprintf("the DNS server cannot resolve the name of the %s; check this machine's DNS settings", what)
	}
	if e, ok := errors.AsType[tls.RecordHeaderError](err); ok && e.Conn != nil {
		return errNoTLS
	}
	switch {
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"),
		strings.Contains(err.Error(), "first record does not look like a TLS handshake"):
		return errNoTLS
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("the machine of the %s answers, but nothing listens on this port; check the port, and that the program runs", what)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return fmt.Sprintf("there is no way from here to the %s; check routes and firewalls", what)
	case errors.Is(err, syscall.ECONNRESET):
		return fmt.Sprintf("the %s breaks off the connection; check the port, the protocol (http or https), and firewalls", what)
	case strings.Contains(err.Error(), "malformed HTTP response"):
		return "what listens on this port speaks no http; set the protocol to https, or correct the port"
	}
	return ""
}

const errNoTLS = "the registry speaks plain http on this port, not https; set the protocol to http if that is intended, or correct the port"

// clean makes text from a certificate fit for one line of a message.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	if len(s) > 200 {
		s = s[:200] + "…"
	}
	return s
}
