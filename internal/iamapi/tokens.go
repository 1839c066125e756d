package iamapi

import (
	"context"
	"net/http"
	"slices"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/identity"
)

func (s *server) registerTokens() {
	const path = "/v3/auth/tokens"
	gateway.Register(s.api, gateway.Operation{
		Name: "KeystoneCreateUserTokenByPassword", Group: group, Dialect: gateway.IAM, Public: true,
		Method: http.MethodPost, Path: path, Status: http.StatusCreated, Flags: []string{"nocatalog"},
		Summary: "Obtain a token with a user name and a password",
	}, s.createToken)
	gateway.Register(s.api, gateway.Operation{
		Name: "KeystoneValidateToken", Group: group, Dialect: gateway.IAM,
		Method: http.MethodGet, Path: path, Flags: []string{"nocatalog"},
		Summary: "Tell what a token is good for",
	}, s.showToken)
	gateway.Register(s.api, gateway.Operation{
		Name: "KeystoneCheckToken", Group: group, Dialect: gateway.IAM,
		Method: http.MethodHead, Path: path, Status: http.StatusOK,
		Summary: "Tell whether a token is good",
	}, s.checkToken)
	gateway.Register(s.api, gateway.Operation{
		Name: "KeystoneRevokeToken", Group: group, Dialect: gateway.IAM,
		Method: http.MethodDelete, Path: path, Status: http.StatusNoContent,
		Summary: "Revoke a token",
	}, s.revokeToken)
}

type namedScope struct {
	_      struct{}    `additionalProperties:"true"`
	ID     string      `json:"id,omitempty" maxLength:"64"`
	Name   string      `json:"name,omitempty" maxLength:"64"`
	Domain *namedScope `json:"domain,omitempty"`
}

type createTokenInput struct {
	NoCatalog string `query:"nocatalog" doc:"Any value leaves the catalog out."`
	Body      struct {
		_    struct{} `additionalProperties:"true"`
		Auth struct {
			_        struct{} `additionalProperties:"true"`
			Identity struct {
				_        struct{} `additionalProperties:"true"`
				Methods  []string `json:"methods" minItems:"1" maxItems:"10" example:"[\"password\"]" doc:"Only password is supported."`
				Password *struct {
					_    struct{} `additionalProperties:"true"`
					User struct {
						_        struct{}    `additionalProperties:"true"`
						ID       string      `json:"id,omitempty" maxLength:"64"`
						Name     string      `json:"name,omitempty" maxLength:"64"`
						Password string      `json:"password" minLength:"1" maxLength:"512"`
						Domain   *namedScope `json:"domain,omitempty" doc:"The user's account, by name or id."`
					} `json:"user"`
				} `json:"password,omitempty"`
			} `json:"identity"`
			Scope *struct {
				_       struct{}    `additionalProperties:"true"`
				Project *namedScope `json:"project,omitempty" doc:"Wins over domain."`
				Domain  *namedScope `json:"domain,omitempty"`
			} `json:"scope,omitempty" doc:"Operations on images need the scope of a project."`
		} `json:"auth"`
	}
}

type tokenOutput struct {
	SubjectToken string `header:"X-Subject-Token"`
	CacheControl string `header:"Cache-Control"`
	Body         struct {
		Token tokenBody `json:"token"`
	}
}

type tokenBody struct {
	Methods   []string    `json:"methods"`
	IssuedAt  string      `json:"issued_at"`
	ExpiresAt string      `json:"expires_at"`
	User      userBody    `json:"user"`
	Project   *scopedBody `json:"project,omitempty"`
	Domain    *reference  `json:"domain,omitempty"`
	Roles     []reference `json:"roles"`
	Catalog   []service   `json:"catalog"`
}

type userBody struct {
	ID                string    `json:"id"`
	Name              string    `json:"name"`
	PasswordExpiresAt string    `json:"password_expires_at"`
	Domain            reference `json:"domain"`
}

type scopedBody struct {
	ID     string    `json:"id"`
	Name   string    `json:"name"`
	Domain reference `json:"domain"`
}

type service struct {
	ID        string     `json:"id"`
	Type      string     `json:"type"`
	Name      string     `json:"name"`
	Endpoints []endpoint `json:"endpoints"`
}

type endpoint struct {
	ID        string `json:"id"`
	Interface string `json:"interface"`
	Region    string `json:"region"`
	RegionID  string `json:"region_id"`
	URL       string `json:"url"`
}

func (s *server) createToken(ctx context.Context, in *createTokenInput) (*tokenOutput, error) {
	auth := &in.Body.Auth
	if !slices.Equal(auth.Identity.Methods, []string{"password"}) {
		return nil, tidewaiter.InvalidField("auth.identity.methods", `only ["password"] is supported`)
	}
	if auth.Identity.Password == nil {
		return nil, tidewaiter.InvalidField("auth.identity.password", "it is missing")
	}
	user := &auth.Identity.Password.User
	req := identity.TokenRequest{UserID: user.ID, UserName: user.Name, Password: user.Password}
	if user.Domain != nil {
		req.DomainID, req.DomainName = user.Domain.ID, user.Domain.Name
	}
	if user.ID == "" && (user.Name == "" || user.Domain == nil) {
		return nil, tidewaiter.InvalidField("auth.identity.password.user", "give name and domain, or id")
	}
	if scope := auth.Scope; scope != nil {
		if scope.Project != nil {
			req.Scope.ProjectID, req.Scope.ProjectName = scope.Project.ID, scope.Project.Name
		} else if scope.Domain != nil {
			req.Scope.DomainID, req.Scope.DomainName = scope.Domain.ID, scope.Domain.Name
		}
	}
	token, t, err := s.identity.IssueToken(ctx, req)
	if err != nil {
		return nil, err
	}
	return s.describe(token, t, in.NoCatalog != ""), nil
}

type subjectInput struct {
	SubjectToken string `header:"X-Subject-Token" required:"true" maxLength:"32768" doc:"The token that is asked about."`
	NoCatalog    string `query:"nocatalog" doc:"Any value leaves the catalog out."`
}

func (s *server) showToken(ctx context.Context, in *subjectInput) (*tokenOutput, error) {
	t, err := s.identity.LookupToken(ctx, gateway.CallerFrom(ctx), in.SubjectToken)
	if err != nil {
		return nil, err
	}
	return s.describe(in.SubjectToken, t, in.NoCatalog != ""), nil
}

type checkOutput struct {
	SubjectToken string `header:"X-Subject-Token"`
}

func (s *server) checkToken(ctx context.Context, in *subjectInput) (*checkOutput, error) {
	if _, err := s.identity.LookupToken(ctx, gateway.CallerFrom(ctx), in.SubjectToken); err != nil {
		return nil, err
	}
	return &checkOutput{SubjectToken: in.SubjectToken}, nil
}

func (s *server) revokeToken(ctx context.Context, in *subjectInput) (*struct{}, error) {
	return nil, s.identity.RevokeToken(ctx, gateway.CallerFrom(ctx), in.SubjectToken)
}

func (s *server) describe(token string, t tidewaiter.Token, noCatalog bool) *tokenOutput {
	out := &tokenOutput{SubjectToken: token, CacheControl: "no-store"}
	domain := domainReference(t.Domain)
	body := &out.Body.Token
	*body = tokenBody{
		Methods:   []string{"password"},
		IssuedAt:  wireTime(t.Issued),
		ExpiresAt: wireTime(t.Expires),
		User:      userBody{ID: t.User.ID, Name: t.User.Name, Domain: domain},
		Roles:     []reference{},
		Catalog:   []service{},
	}
	for _, name := range t.Roles {
		body.Roles = append(body.Roles, reference{ID: "0", Name: name})
	}
	region := ""
	if t.Project != nil {
		body.Project = &scopedBody{ID: t.Project.ID, Name: t.Project.Name, Domain: domain}
		region = t.Project.Name
	} else {
		body.Domain = &domain
	}
	if !noCatalog {
		body.Catalog = s.catalog(t.Project, region)
	}
	return out
}

// catalog lists the services of this server.
func (s *server) catalog(project *tidewaiter.Project, region string) []service {
	entry := func(kind, name, url string) service {
		return service{ID: kind, Type: kind, Name: name, Endpoints: []endpoint{
			{ID: kind, Interface: "public", Region: region, RegionID: region, URL: url},
		}}
	}
	services := []service{entry("identity", "iam", s.endpoint+"/v3")}
	if project != nil {
		services = append(services, entry("hss", "hss", s.endpoint+"/v5/"+project.ID))
	}
	return services
}
