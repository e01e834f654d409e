// gcpkms PORT LOG TOKEN: Google Cloud KMS by REST on 127.0.0.1, with strict JSON: unknown fields are
// refused. Every request is a line of JSON in the file LOG. Bearer tokens: TOKEN, and what the
// metadata server gives, which is TOKEN as well. /_control takes {"hsms","denied":[verb…]}.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	kms "cloud.google.com/go/kms/apiv1/kmspb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

type server struct {
	store
	log    *os.File
	token  string
	denied []string
}

var statuses = map[codes.Code]struct {
	http int
	name string
}{
	codes.InvalidArgument:    {400, "INVALID_ARGUMENT"},
	codes.FailedPrecondition: {400, "FAILED_PRECONDITION"},
	codes.Unauthenticated:    {401, "UNAUTHENTICATED"},
	codes.PermissionDenied:   {403, "PERMISSION_DENIED"},
	codes.NotFound:           {404, "NOT_FOUND"},
	codes.AlreadyExists:      {409, "ALREADY_EXISTS"},
}

func refuse(w http.ResponseWriter, err error) {
	it, _ := status.FromError(err)
	known, found := statuses[it.Code()]
	if !found {
		known.http, known.name = 500, "INTERNAL"
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(known.http)
	json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{
		"code": known.http, "message": it.Message(), "status": known.name}})
}

// Reads the body into a request, which `fill` completes from the path, and answers what `do` makes.
func serve[Q, A proto.Message](w http.ResponseWriter, r *http.Request, body []byte, request Q,
	fill func(Q), do func(context.Context, Q) (A, error)) {
	if len(body) > 0 {
		if err := protojson.Unmarshal(body, request); err != nil {
			refuse(w, status.Error(codes.InvalidArgument, "Invalid JSON payload received. "+err.Error()))
			return
		}
	}
	fill(request)
	answer, err := do(r.Context(), request)
	if err != nil {
		refuse(w, err)
		return
	}
	numbers := strings.Contains(r.URL.RawQuery, "enum-encoding")
	text, err := protojson.MarshalOptions{UseEnumNumbers: numbers}.Marshal(answer)
	if err != nil {
		refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.Write(text)
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.Lock()
	defer s.Unlock()
	if strings.HasSuffix(r.URL.Path, "/service-accounts/default/token") {
		s.serveMetadata(w, r)
		return
	}
	if r.URL.Path == "/_control" {
		order := struct {
			Hsms   bool
			Denied []string
		}{}
		if json.Unmarshal(body, &order) == nil {
			s.hsms, s.denied = order.Hsms, order.Denied
		}
		return
	}
	fmt.Fprintf(s.log, "%s\n", must(json.Marshal(map[string]string{
		"method": r.Method, "path": r.URL.Path, "body": string(body)})))
	if r.Header.Get("Authorization") != "Bearer "+s.token {
		refuse(w, status.Error(codes.Unauthenticated, "Request had invalid authentication credentials."))
		return
	}
	s.serveKms(w, r, body)
}

func must(text []byte, err error) []byte {
	if err != nil {
		log.Fatal(err)
	}
	return text
}

func (s *server) serveMetadata(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Metadata-Flavor") != "Google" {
		http.Error(w, "Missing Metadata-Flavor:Google header.", http.StatusForbidden)
		return
	}
	w.Header().Set("Metadata-Flavor", "Google")
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"access_token":%q,"expires_in":3599,"token_type":"Bearer"}`, s.token)
}

func (s *server) serveKms(w http.ResponseWriter, r *http.Request, body []byte) {
	name, verb, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/"), ":")
	if r.Method == http.MethodGet {
		verb = "get"
	}
	if slices.Contains(s.denied, verb) {
		refuse(w, status.Errorf(codes.PermissionDenied, "Permission for '%s' denied on resource '%s'.", verb, name))
		return
	}
	switch verb {
	case "get":
		serve(w, r, body, &kms.GetCryptoKeyRequest{}, func(q *kms.GetCryptoKeyRequest) { q.Name = name }, s.getKey)
	case "encrypt":
		serve(w, r, body, &kms.EncryptRequest{}, func(q *kms.EncryptRequest) { q.Name = name }, s.encrypt)
	case "decrypt":
		serve(w, r, body, &kms.DecryptRequest{}, func(q *kms.DecryptRequest) { q.Name = name }, s.decrypt)
	case "generateRandomBytes":
		serve(w, r, body, &kms.GenerateRandomBytesRequest{},
			func(q *kms.GenerateRandomBytesRequest) { q.Location = name }, s.randomBytes)
	case "destroy":
		serve(w, r, body, &kms.DestroyCryptoKeyVersionRequest{},
			func(q *kms.DestroyCryptoKeyVersionRequest) { q.Name = name }, s.destroyVersion)
	case "restore":
		serve(w, r, body, &kms.RestoreCryptoKeyVersionRequest{},
			func(q *kms.RestoreCryptoKeyVersionRequest) { q.Name = name }, s.restoreVersion)
	case "updatePrimaryVersion":
		serve(w, r, body, &kms.UpdateCryptoKeyPrimaryVersionRequest{},
			func(q *kms.UpdateCryptoKeyPrimaryVersionRequest) { q.Name = name }, s.setPrimary)
	default:
		s.serveResources(w, r, body, name)
	}
}

func (s *server) serveResources(w http.ResponseWriter, r *http.Request, body []byte, name string) {
	query := r.URL.Query()
	parent, kind := name[:strings.LastIndex(name, "/")], name[strings.LastIndex(name, "/")+1:]
	switch {
	case r.Method == http.MethodPatch:
		serve(w, r, body, &kms.CryptoKeyVersion{}, func(q *kms.CryptoKeyVersion) { q.Name = name }, s.updateVersion)
	case kind == "keyRings":
		serve(w, r, body, &kms.KeyRing{}, func(*kms.KeyRing) {}, func(c context.Context, ring *kms.KeyRing) (*kms.KeyRing, error) {
			return s.createKeyRing(c, &kms.CreateKeyRingRequest{Parent: parent, KeyRingId: query.Get("keyRingId"), KeyRing: ring})
		})
	case kind == "cryptoKeys":
		serve(w, r, body, &kms.CryptoKey{}, func(*kms.CryptoKey) {}, func(c context.Context, key *kms.CryptoKey) (*kms.CryptoKey, error) {
			return s.createKey(c, &kms.CreateCryptoKeyRequest{Parent: parent, CryptoKeyId: query.Get("cryptoKeyId"), CryptoKey: key})
		})
	case kind == "cryptoKeyVersions":
		serve(w, r, body, &kms.CryptoKeyVersion{}, func(*kms.CryptoKeyVersion) {}, func(c context.Context, it *kms.CryptoKeyVersion) (*kms.CryptoKeyVersion, error) {
			return s.createVersion(c, &kms.CreateCryptoKeyVersionRequest{Parent: parent, CryptoKeyVersion: it})
		})
	default:
		http.NotFound(w, r)
	}
}

func main() {
	file, err := os.Create(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	it := &server{log: file, token: os.Args[3]}
	it.rings, it.keys = map[string]bool{}, map[string]*cryptoKey{}
	listener := &http.Server{Addr: "127.0.0.1:" + os.Args[1], Handler: it, ReadHeaderTimeout: 10 * time.Second}
	if err := listener.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}
