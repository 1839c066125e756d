package fleet

import (
	"fmt"
	"time"

	"github.com/tidewaiter/tidewaiter"
)

// Status is how a cluster or a component is.
type Status string

// The statuses.
const (
	StatusNone    Status = "no_component"    // of a cluster: none has ever enrolled
	StatusOnline  Status = "online"          // takes work
	StatusWaiting Status = "waiting_for_key" // is there, but does not have the cluster's key yet
	StatusVersion Status = "wrong_version"   // is there, but speaks no version of the protocol that this server speaks
	StatusOffline Status = "offline"
)

// State is a cluster and how it is.
type State struct {
	tidewaiter.Cluster
	Components []ComponentState // oldest first
	Status     Status           // the best of its components'
	Online     int              // components with StatusOnline
	Since      time.Time        // if StatusOffline: when a component was last seen
	Advice     string           // in a sentence, what to do; "" while there is nothing
}

// ComponentState is a component and how it is.
type ComponentState struct {
	tidewaiter.Component
	Status Status
}

// In tells whether a project may use the cluster.
func (s State) In(projectID string) bool { return s.ProjectID == "" || s.ProjectID == projectID }

func (s *Service) online(c tidewaiter.Component) bool { return s.o.Now().Sub(c.Seen) <= s.o.Online }

// componentState judges one component.
func (s *Service) componentState(cluster tidewaiter.Cluster, c tidewaiter.Component) ComponentState {
	status := StatusOnline
	switch {
	case !s.online(c):
		status = StatusOffline
	case c.Protocol == 0:
		status = StatusVersion
	case !c.HasKey(cluster):
		status = StatusWaiting
	}
	return ComponentState{Component: c, Status: status}
}

// state judges a cluster by its components.
func (s *Service) state(cluster tidewaiter.Cluster, components []tidewaiter.Component) State {
	state := State{Cluster: cluster, Status: StatusNone}
	count := make(map[Status]int)
	for _, c := range components {
		c := s.componentState(cluster, c)
		state.Components = append(state.Components, c)
		count[c.Status]++
		if c.Seen.After(state.Since) {
			state.Since = c.Seen
		}
	}
	state.Online = count[StatusOnline]
	for _, status := range []Status{StatusOffline, StatusVersion, StatusWaiting, StatusOnline} {
		if count[status] > 0 {
			state.Status = status
		}
	}
	if state.Status != StatusOffline {
		state.Since = time.Time{}
	}
	state.Advice = advice(state)
	return state
}

// advice says what to do about a cluster that takes no work.
func advice(s State) string {
	local := s.Kind == tidewaiter.LocalCluster
	switch s.Status {
	case StatusOnline:
		return ""
	case StatusNone, StatusOffline:
		what := "has no scan component yet"
		if s.Status == StatusOffline {
			what = "has had no scan component since " + s.Since.UTC().Format("2006-01-02 15:04:05 MST")
		}
		if local {
			return fmt.Sprintf("the cluster %s %s: it runs inside the server; look into the server's log for why it does not", s.Name, what)
		}
		if s.Status == StatusNone {
			return fmt.Sprintf("the cluster %s %s: start one with the command that \"tidewaiter cluster token %s\" prints", s.Name, what, s.Name)
		}
		return fmt.Sprintf("the cluster %s %s: start it again where it ran, or start another with the command that \"tidewaiter cluster token %s\" prints", s.Name, what, s.Name)
	case StatusWaiting:
		if s.Recipient == "" {
			return fmt.Sprintf("the key of the cluster %s was changed: its scan components make a new one when they connect next", s.Name)
		}
		return fmt.Sprintf("the scan component of the cluster %s waits for the cluster's key: start a component that had it, "+
			"or change the key with \"tidewaiter cluster rotate-key %s\" and give the passwords of its registries again", s.Name, s.Name)
	case StatusVersion:
		return fmt.Sprintf("the scan component of the cluster %s and this server speak no common version of the component protocol: "+
			"run the component of this server's release", s.Name)
	}
	return ""
}
