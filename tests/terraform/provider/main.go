// A stand-in for the AWS provider, so that Terraform checks terraform/aws-kms without the internet
// and without an account. It knows the shape of the resources (schema.json, see
// tools/make-aws-schema) and makes none: `terraform validate` finds arguments that are misspelt, of
// another type or missing, and `terraform apply` evaluates every expression, the policies included,
// with "aws_kms_key.arn" in the place of what AWS would have answered. It knows nothing of values
// that AWS refuses.
package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"log"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	data "github.com/hashicorp/terraform-plugin-framework/datasource/schema"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/provider/schema"
	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	managed "github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

//go:embed schema.json
var schemaJSON []byte

type block struct {
	Attributes map[string]string            // name → "TYPE MODE", e.g. "set optional"
	Blocks     map[string]block             // what is written as NAME { … }
	Objects    map[string]map[string]string // lists of objects that AWS answers
}

// The framework has one set of schema types for resources and one for data sources, alike but for
// their package. Shapes are made of these for resources; a data source here has no blocks.
func blockOf(shape block) managed.NestedBlockObject {
	result := managed.NestedBlockObject{
		Attributes: map[string]managed.Attribute{}, Blocks: map[string]managed.Block{}}
	for name, text := range shape.Attributes {
		// In a block AWS fills nothing in that anybody here reads.
		result.Attributes[name] = attributeOf(text, false)
	}
	for name, inner := range shape.Blocks {
		result.Blocks[name] = managed.ListNestedBlock{NestedObject: blockOf(inner)}
	}
	return result
}

// The generated schema does not say which optional attributes AWS fills in: all of them may be.
func attributeOf(text string, filledIn bool) managed.Attribute {
	kind, mode, _ := strings.Cut(text, " ")
	required, optional := mode == "required", mode == "optional"
	computed := mode == "computed" || optional && filledIn
	switch kind {
	case "string":
		return managed.StringAttribute{Required: required, Optional: optional, Computed: computed}
	case "number":
		return managed.NumberAttribute{Required: required, Optional: optional, Computed: computed}
	case "bool":
		return managed.BoolAttribute{Required: required, Optional: optional, Computed: computed}
	case "map":
		return managed.MapAttribute{ElementType: types.StringType, Required: required,
			Optional: optional, Computed: computed}
	case "list":
		return managed.ListAttribute{ElementType: types.StringType, Required: required,
			Optional: optional, Computed: computed}
	case "set":
		return managed.SetAttribute{ElementType: types.StringType, Required: required,
			Optional: optional, Computed: computed}
	}
	log.Fatalf("schema.json: no type %q", text)
	return nil
}

func objectOf(shape map[string]string) attr.Type {
	result := types.ObjectType{AttrTypes: map[string]attr.Type{}}
	for name := range shape {
		result.AttrTypes[name] = types.StringType
	}
	return result
}

// What AWS would have answered: each unknown string becomes WHERE.NAME, a list of objects one such
// object, everything else null.
func answered(where string, plan tftypes.Value) (tftypes.Value, error) {
	return tftypes.Transform(plan, func(path *tftypes.AttributePath, value tftypes.Value) (tftypes.Value, error) {
		if value.IsKnown() {
			return value, nil
		}
		name := where
		for _, step := range path.Steps() {
			if part, ok := step.(tftypes.AttributeName); ok {
				name += "." + string(part)
			}
		}
		return invented(name, value.Type()), nil
	})
}

func invented(name string, kind tftypes.Type) tftypes.Value {
	if kind.Is(tftypes.String) {
		return tftypes.NewValue(kind, name)
	}
	list, isList := kind.(tftypes.List)
	if !isList {
		return tftypes.NewValue(kind, nil)
	}
	object, isObject := list.ElementType.(tftypes.Object)
	if !isObject {
		return tftypes.NewValue(kind, nil)
	}
	fields := map[string]tftypes.Value{}
	for field, fieldKind := range object.AttributeTypes {
		fields[field] = invented(name+"."+field, fieldKind)
	}
	return tftypes.NewValue(kind, []tftypes.Value{tftypes.NewValue(object, fields)})
}

type madeResource struct {
	name  string
	shape block
}

func (r madeResource) Metadata(_ context.Context, _ resource.MetadataRequest, answer *resource.MetadataResponse) {
	answer.TypeName = r.name
}

func (r madeResource) Schema(_ context.Context, _ resource.SchemaRequest, answer *resource.SchemaResponse) {
	attributes := map[string]managed.Attribute{}
	for name, text := range r.shape.Attributes {
		attributes[name] = attributeOf(text, true)
	}
	for name, shape := range r.shape.Objects {
		attributes[name] = managed.ListAttribute{ElementType: objectOf(shape), Computed: true}
	}
	answer.Schema = managed.Schema{Attributes: attributes, Blocks: blockOf(r.shape).Blocks}
}

func (r madeResource) Create(_ context.Context, request resource.CreateRequest, answer *resource.CreateResponse) {
	state, err := answered(r.name, request.Plan.Raw)
	if err != nil {
		answer.Diagnostics.AddError("cannot make up an answer", err.Error())
		return
	}
	answer.State.Raw = state
}

func (madeResource) Read(context.Context, resource.ReadRequest, *resource.ReadResponse) {}

func (r madeResource) Update(_ context.Context, request resource.UpdateRequest, answer *resource.UpdateResponse) {
	answer.Diagnostics.AddError("this stand-in changes nothing", r.name)
}

func (madeResource) Delete(context.Context, resource.DeleteRequest, *resource.DeleteResponse) {}

type madeData struct {
	name  string
	shape block
}

func (d madeData) Metadata(_ context.Context, _ datasource.MetadataRequest, answer *datasource.MetadataResponse) {
	answer.TypeName = d.name
}

func (d madeData) Schema(_ context.Context, _ datasource.SchemaRequest, answer *datasource.SchemaResponse) {
	if len(d.shape.Blocks) > 0 {
		log.Fatalf("schema.json: blocks in the data source %s", d.name)
	}
	attributes := map[string]data.Attribute{}
	for name, text := range d.shape.Attributes {
		made := attributeOf(text, true)
		required, optional, computed := made.IsRequired(), made.IsOptional(), made.IsComputed()
		switch kind := made.(type) {
		case managed.StringAttribute:
			attributes[name] = data.StringAttribute{Required: required, Optional: optional, Computed: computed}
		case managed.MapAttribute:
			attributes[name] = data.MapAttribute{ElementType: kind.ElementType, Required: required,
				Optional: optional, Computed: computed}
		case managed.NumberAttribute:
			attributes[name] = data.NumberAttribute{Required: required, Optional: optional, Computed: computed}
		default:
			log.Fatalf("schema.json: no %s in the data source %s", text, d.name)
		}
	}
	for name, shape := range d.shape.Objects {
		attributes[name] = data.ListAttribute{ElementType: objectOf(shape), Computed: true}
	}
	answer.Schema = data.Schema{Attributes: attributes}
}

func (d madeData) Read(_ context.Context, request datasource.ReadRequest, answer *datasource.ReadResponse) {
	// Configuration has null, not unknown, where AWS answers.
	state, err := tftypes.Transform(request.Config.Raw, func(path *tftypes.AttributePath, value tftypes.Value) (tftypes.Value, error) {
		steps := path.Steps()
		if !value.IsNull() || len(steps) != 1 {
			return value, nil
		}
		return invented(d.name+"."+string(steps[0].(tftypes.AttributeName)), value.Type()), nil
	})
	if err != nil {
		answer.Diagnostics.AddError("cannot make up an answer", err.Error())
		return
	}
	answer.State.Raw = state
}

type aws struct{ Resource, Data map[string]block }

func (aws) Metadata(_ context.Context, _ provider.MetadataRequest, answer *provider.MetadataResponse) {
	answer.TypeName = "aws"
}

func (aws) Schema(_ context.Context, _ provider.SchemaRequest, answer *provider.SchemaResponse) {
	answer.Schema = schema.Schema{Attributes: map[string]schema.Attribute{
		"region":  schema.StringAttribute{Optional: true},
		"profile": schema.StringAttribute{Optional: true},
	}}
}

func (aws) Configure(context.Context, provider.ConfigureRequest, *provider.ConfigureResponse) {}

func (a aws) Resources(context.Context) (made []func() resource.Resource) {
	for name, shape := range a.Resource {
		made = append(made, func() resource.Resource { return madeResource{name, shape} })
	}
	return made
}

func (a aws) DataSources(context.Context) (made []func() datasource.DataSource) {
	for name, shape := range a.Data {
		made = append(made, func() datasource.DataSource { return madeData{name, shape} })
	}
	return made
}

func main() {
	var made aws
	if err := json.Unmarshal(schemaJSON, &made); err != nil {
		log.Fatal(err)
	}
	if err := providerserver.Serve(context.Background(), func() provider.Provider { return made },
		providerserver.ServeOpts{Address: "registry.terraform.io/hashicorp/aws"}); err != nil {
		log.Fatal(err)
	}
}
