// A registry that keeps account of referrers (OCI distribution specification 1.1), out of Debian 13's go-containerregistry:
//
//	main ADDRESS
package main

import (
	"log"
	"net/http"
	"os"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	log.SetFlags(0)
	log.Fatal(http.ListenAndServe(os.Args[1], registry.New(registry.WithReferrersSupport(true))))
}
