package hssapi

import (
	"context"
	"slices"
	"strconv"

	"github.com/tidewaiter/tidewaiter"
	"github.com/tidewaiter/tidewaiter/internal/gateway"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/store"
)

func (s *server) registerImageSync() {
	gateway.Register(s.api, s.operation("CreateImageSynchronizeTask"), s.createImageSynchronizeTask)
	gateway.Register(s.api, s.operation("ListAssociateRegistries"), s.listAssociateRegistries)
	gateway.Register(s.api, s.operation("RunImageSynchronize"), s.runImageSynchronize)
}

// CreateImageSynchronizeTaskRequestInfo says which registries are meant.
type CreateImageSynchronizeTaskRequestInfo struct {
	SyncAllRegistries bool               `json:"sync_all_registries" doc:"true: every registry that the caller may see; false: those of registry_info."`
	RegistryInfo      []SynchronizedInfo `json:"registry_info,omitempty" maxItems:"100" doc:"Registries, where sync_all_registries is false."`
}

// SynchronizedInfo is one registry by its id, or all of a type.
type SynchronizedInfo struct {
	RegistryID   string `json:"registry_id,omitempty" maxLength:"64" doc:"Registry id; without one, every registry of the type."`
	RegistryType string `json:"registry_type,omitempty" enum:"SwrPrivate,SwrShared,SwrEnterprise,Harbor,Jfrog,Other"`
}

type createImageSynchronizeTaskInput struct {
	InProject
	InRegion
	Body CreateImageSynchronizeTaskRequestInfo
}

func (s *server) createImageSynchronizeTask(ctx context.Context, in *createImageSynchronizeTaskInput) (*empty, error) {
	extent := s.extent(ctx, "CreateImageSynchronizeTask", in.InProject)
	wish, err := s.synchronizeWish(ctx, extent, in.Body)
	if err != nil {
		return nil, err
	}
	wish.EnterpriseProjectID = taskProject(extent)
	task, err := s.inventory.Synchronize(ctx, extent, wish)
	if err != nil {
		return nil, err
	}
	return &empty{Body: Changed{TaskID: task.ID}}, nil
}

// synchronizeWish checks the body and returns what it asks for.
func (s *server) synchronizeWish(ctx context.Context, extent tidewaiter.Extent, b CreateImageSynchronizeTaskRequestInfo) (inventory.Wish, error) {
	const field = "registry_info"
	wish := inventory.Wish{Kind: tidewaiter.ManualSync}
	if b.SyncAllRegistries {
		return wish, nil
	}
	if len(b.RegistryInfo) == 0 {
		return wish, tidewaiter.InvalidField(field, "it is missing; name at least one registry, or set sync_all_registries to true")
	}
	wish.IDs = []string{}
	for i, info := range b.RegistryInfo {
		at := field + "[" + strconv.Itoa(i) + "]"
		if info.RegistryID == "" && info.RegistryType == "" {
			return wish, tidewaiter.InvalidField(at, "it is empty; give a registry_id, or a registry_type for every registry of that type")
		}
		if info.RegistryID == "" {
			ids, err := s.registriesOfType(ctx, extent, tidewaiter.RegistryType(info.RegistryType))
			if err != nil {
				return wish, err
			}
			wish.IDs = append(wish.IDs, ids...)
			continue
		}
		r, err := s.inventory.Registry(ctx, extent, info.RegistryID)
		if err != nil {
			return wish, err
		}
		if info.RegistryType != "" && string(r.Type) != info.RegistryType {
			return wish, tidewaiter.InvalidField(at+".registry_type", "the registry with this id is of another type; leave the type out, or give the right one")
		}
		wish.IDs = append(wish.IDs, r.ID)
	}
	if len(wish.IDs) == 0 {
		return wish, tidewaiter.Errorf(tidewaiter.NotFound, "there is no registry of the types in registry_info; connect one with AddRegistry")
	}
	return wish, nil
}

func (s *server) registriesOfType(ctx context.Context, extent tidewaiter.Extent, t tidewaiter.RegistryType) ([]string, error) {
	found, _, err := s.inventory.Registries(ctx, extent, store.RegistryFilter{Types: []tidewaiter.RegistryType{t}}, store.Page{Limit: maxRegistries})
	if err != nil {
		return nil, err
	}
	ids := make([]string, 0, len(found))
	for _, r := range found {
		ids = append(ids, r.ID)
	}
	return ids, nil
}

// taskProject returns the enterprise project that a task over an extent belongs
// to: the default one if it is within, else the first that the caller may see.
func taskProject(e tidewaiter.Extent) string {
	if e.All || len(e.EnterpriseProjects) == 0 || slices.Contains(e.EnterpriseProjects, tidewaiter.DefaultEnterpriseProject) {
		return tidewaiter.DefaultEnterpriseProject
	}
	return e.EnterpriseProjects[0]
}

// AssociateRegistriesResponseInfo is a registry of a task.
type AssociateRegistriesResponseInfo struct {
	RegistryID   string `json:"registry_id"`
	RegistryName string `json:"registry_name"`
	RegistryType string `json:"registry_type" enum:"SwrPrivate,SwrShared,SwrEnterprise,Harbor,Jfrog,Other"`
	SyncStatus   string `json:"sync_status" enum:"finished,running,failed"`
	FailedReason string `json:"failed_reason,omitempty" doc:"What to mend, in words; only where sync_status is failed."`
}

type listAssociateRegistriesInput struct {
	InProject
	Page
	TaskID       string `path:"task_id" minLength:"1" maxLength:"64"`
	RegistryName string `query:"registry_name" minLength:"1" maxLength:"128" doc:"Name of the connection; * stands for any characters."`
	RegistryType string `query:"registry_type" doc:"One or several, separated by commas, of Harbor, Jfrog, SwrPrivate, SwrShared, SwrEnterprise, Other."`
	SyncStatus   string `query:"sync_status" enum:"finished,running,failed"`
}

type listAssociateRegistriesOutput struct {
	Body struct {
		DataList []AssociateRegistriesResponseInfo `json:"data_list" nullable:"false"`
		TotalNum int32                             `json:"total_num"`
	}
}

func (s *server) listAssociateRegistries(ctx context.Context, in *listAssociateRegistriesInput) (*listAssociateRegistriesOutput, error) {
	types, err := parseTypes(in.RegistryType)
	if err != nil {
		return nil, err
	}
	found, total, err := s.inventory.SyncTaskRegistries(ctx, s.extent(ctx, "ListAssociateRegistries", in.InProject), in.TaskID,
		store.SyncRegistryFilter{Name: in.RegistryName, Types: types, Status: tidewaiter.SyncStatus(in.SyncStatus)}, store.Page(in.Page))
	if err != nil {
		return nil, err
	}
	out := &listAssociateRegistriesOutput{}
	out.Body.TotalNum = count32(total)
	out.Body.DataList = wireAll(found, func(r tidewaiter.SyncTaskRegistry) AssociateRegistriesResponseInfo {
		return AssociateRegistriesResponseInfo{
			RegistryID: r.RegistryID, RegistryName: r.RegistryName, RegistryType: string(r.RegistryType),
			SyncStatus: string(r.Status), FailedReason: r.FailedReason,
		}
	})
	return out, nil
}

type runImageSynchronizeInput struct {
	InProject
	InRegion
	Body struct {
		ImageType string `json:"image_type" enum:"private_image,shared_image" doc:"private_image: the registries of type SwrPrivate; shared_image: those of type SwrShared."`
	}
}

type runImageSynchronizeOutput struct {
	Body struct {
		ErrorCode        int32  `json:"error_code" doc:"0: the synchronisation was started."`
		ErrorDescription string `json:"error_description"`
		TaskID           string `json:"task_id" doc:"Beyond the contract: id of the task that was started; see ListAssociateRegistries."`
	}
}

func (s *server) runImageSynchronize(ctx context.Context, in *runImageSynchronizeInput) (*runImageSynchronizeOutput, error) {
	types := map[string]tidewaiter.RegistryType{
		"private_image": tidewaiter.RegistrySwrPrivate, "shared_image": tidewaiter.RegistrySwrShared,
	}
	extent := s.extent(ctx, "RunImageSynchronize", in.InProject)
	kind := types[in.Body.ImageType]
	ids, err := s.registriesOfType(ctx, extent, kind)
	if err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		return nil, tidewaiter.Errorf(tidewaiter.NotFound, "there is no registry of type %s; connect one with AddRegistry", kind)
	}
	task, err := s.inventory.Synchronize(ctx, extent, inventory.Wish{
		EnterpriseProjectID: taskProject(extent), Kind: tidewaiter.ManualSync, IDs: ids,
	})
	if err != nil {
		return nil, err
	}
	out := &runImageSynchronizeOutput{}
	out.Body.TaskID = task.ID
	return out, nil
}
