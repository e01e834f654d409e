// Whether a dashboard is one: read strictly by the types that Grafana generates from its schemas.
package main

import (
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	plugins.RegisterDefaultPlugins()
	raw, err := os.ReadFile(os.Args[1])
	if err == nil {
		err = new(dashboard.Dashboard).UnmarshalJSONStrict(raw)
	}
	// The library hands an empty list of errors on as an error.
	if err != nil && err.Error() != "" {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
