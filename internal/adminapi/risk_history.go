package adminapi

import (
	"context"
	"net/http"
	"time"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

func (s *server) registerRiskHistory() {
	gateway.Register(s.api, inProject("ListRiskHistory", http.MethodGet, "/risk-history", changesPermission(),
		"List how many images had which risk, day by day"), s.listRiskHistory)
	gateway.Register(s.api, inProject("ListRecentVulnerabilities", http.MethodGet, "/recent-vulnerabilities", changesPermission(),
		"List the vulnerabilities that were found last in any image"), s.listRecent)
}

// RecentVulnerability is a vulnerability, and when it was found, on the wire.
type RecentVulnerability struct {
	Vulnerability string `json:"vulnerability"`
	Type          string `json:"type" enum:"linux_vul,app_vul"`
	Severity      string `json:"severity" enum:"none,low,medium,high,critical,unknown"`
	Exploited     bool   `json:"exploited" doc:"It is known to be exploited."`
	Images        int    `json:"images" doc:"Of one platform, that have it where nobody has handled it."`
	Found         string `json:"found" doc:"When it was first found anywhere."`
}

func (s *server) listRecent(ctx context.Context, in *struct {
	OfProject
	OfGrantedEnterpriseProject
	Limit int `query:"limit" minimum:"1" maximum:"100" default:"10"`
}) (*listOutput[RecentVulnerability], error) {
	e, err := s.extent(ctx, changesPermission(), in.ProjectID)
	if err == nil {
		e, err = in.narrow(e)
	}
	if err != nil {
		return nil, err
	}
	found, err := s.findings.Recent(ctx, e, in.Limit)
	if err != nil {
		return nil, err
	}
	return list(found, func(v store.ListedVulnerability) RecentVulnerability {
		return RecentVulnerability{
			Vulnerability: v.Name, Type: string(v.Kind), Severity: string(v.Severity.Level()), Exploited: !v.Exploited.IsZero(), Images: v.Images, Found: wireTime(v.Created),
		}
	}), nil
}

// RiskDay is how things stood at the end of a day, on the wire.
type RiskDay struct {
	Day    string     `json:"day" doc:"YYYY-MM-DD, in UTC. Days on which no server ran are missing."`
	Images RiskImages `json:"images" doc:"By their risk, as severity_level of ListRegistryImages."`
	Open   RiskOpen   `json:"open" doc:"Vulnerabilities in packages of images that nobody had handled, by severity."`
}

// RiskImages counts images on the wire.
type RiskImages struct {
	High    int `json:"high"`
	Medium  int `json:"medium"`
	Low     int `json:"low"`
	Secure  int `json:"secure"`
	Unknown int `json:"unknown" doc:"Not scanned to the end, or not judged as a whole."`
}

// RiskOpen counts vulnerabilities on the wire.
type RiskOpen struct {
	Critical int `json:"critical"`
	High     int `json:"high"`
	Medium   int `json:"medium"`
	Low      int `json:"low"`
}

func (s *server) listRiskHistory(ctx context.Context, in *struct {
	OfProject
	OfGrantedEnterpriseProject
	Days int `query:"days" minimum:"1" maximum:"400" default:"30" doc:"Today among them."`
}) (*listOutput[RiskDay], error) {
	e, err := s.extent(ctx, changesPermission(), in.ProjectID)
	if err == nil {
		e, err = in.narrow(e)
	}
	if err != nil {
		return nil, err
	}
	found, err := s.findings.RiskDays(ctx, e, in.Days)
	if err != nil {
		return nil, err
	}
	return list(found, func(d tidewaiter.RiskDay) RiskDay {
		return RiskDay{Day: d.Day.Format(time.DateOnly), Images: RiskImages(d.Images), Open: RiskOpen(d.Open)}
	}), nil
}
