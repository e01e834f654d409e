// azkv PORT TOKEN_PORT CERTIFICATE: a key vault by https on 127.0.0.1:PORT, whose certificate is
// written to the file CERTIFICATE, and by http on TOKEN_PORT what gives tokens for it: client
// credentials (secret `canary-azure-secret`, or the assertion `canary-assertion`) and the instance's
// metadata service. /_control there takes {"denied":[operation…],"token_seconds",
// "uri"}; the latter is where clients think the vault is, when it is not here.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys/fake"
)

const (
	tenant   = "11111111-1111-1111-1111-111111111111"
	resource = "https://vault.azure.net"
)

type service struct {
	vault
	tokenPort string
	secret    []byte
	seconds   int
	transport *fake.ServerTransport
}

func answerJson(w http.ResponseWriter, status int, document any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(document)
}

func refuse(w http.ResponseWriter, it refusal) {
	document := map[string]any{"code": it.code, "message": it.words}
	if it.inner != "" {
		document["innererror"] = map[string]string{"code": it.inner}
	}
	answerJson(w, it.status, map[string]any{"error": document})
}

func (s *service) mint(audience string) string {
	encode := func(document any) string {
		text, _ := json.Marshal(document)
		return base64.RawURLEncoding.EncodeToString(text)
	}
	ends := time.Now().Add(time.Duration(s.seconds) * time.Second)
	text := encode(map[string]string{"alg": "HS256", "typ": "JWT"}) + "." +
		encode(map[string]any{"aud": audience, "exp": ends.Unix(), "tid": tenant})
	return text + "." + base64.RawURLEncoding.EncodeToString(s.sum(text))
}

func (s *service) sum(text string) []byte {
	mac := hmac.New(sha256.New, s.secret)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

func (s *service) accepts(token string) bool {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return false
	}
	sum, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || !hmac.Equal(sum, s.sum(parts[0]+"."+parts[1])) {
		return false
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	claims := struct {
		Aud string
		Exp int64
	}{}
	return err == nil && json.Unmarshal(text, &claims) == nil &&
		claims.Exp > time.Now().Unix() && claims.Aud == resource
}

// The generated server finds a method by its name in the context.
func method(r *http.Request) string {
	path := r.URL.Path
	switch {
	case r.Method == http.MethodPost && strings.HasSuffix(path, "/create"):
		return "CreateKey"
	case r.Method == http.MethodPost && strings.HasSuffix(path, "/wrapkey"):
		return "WrapKey"
	case r.Method == http.MethodPost && strings.HasSuffix(path, "/unwrapkey"):
		return "UnwrapKey"
	case r.Method == http.MethodPatch:
		return "UpdateKey"
	}
	return "GetKey"
}

func (s *service) serveVault(w http.ResponseWriter, r *http.Request) {
	if !s.accepts(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")) {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(
			`Bearer authorization="http://127.0.0.1:%s/%s", resource="%s"`, s.tokenPort, tenant, resource))
		refuse(w, refusal{401, "Unauthorized", "", "AKV10000: Request is missing a Bearer or PoP token."})
		return
	}
	if r.URL.Query().Get("api-version") == "" {
		refuse(w, refusal{400, "BadParameter", "", "api-version must be specified"})
		return
	}
	if strings.HasPrefix(r.URL.Path, "/deletedkeys/") {
		refuse(w, refusal{404, "KeyNotFound", "", "A deleted key was not found in this key vault."})
		return
	}
	r.URL.Scheme, r.URL.Host = "https", r.Host
	r.RequestURI = ""
	// It ends with a panic when a caller hangs up.
	named := context.WithValue(context.WithoutCancel(r.Context()), runtime.CtxAPINameKey{}, "Client."+method(r))
	answer, err := s.transport.Do(r.WithContext(named))
	var refused *azcore.ResponseError
	if errors.As(err, &refused) {
		parts := strings.SplitN(refused.ErrorCode+"||", "|", 3)
		refuse(w, refusal{refused.StatusCode, parts[0], parts[1], strings.TrimSuffix(parts[2], "||")})
		return
	}
	if err != nil {
		refuse(w, refusal{400, "BadParameter", "", err.Error()})
		return
	}
	defer answer.Body.Close()
	for name, values := range answer.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.StatusCode)
	io.Copy(w, answer.Body)
}

func (s *service) serveTokens(w http.ResponseWriter, r *http.Request) {
	s.Lock()
	defer s.Unlock()
	if r.URL.Path == "/_control" {
		order := struct {
			Denied       []string
			TokenSeconds int `json:"token_seconds"`
			Uri          string
		}{TokenSeconds: 3600, Uri: s.ownUri}
		json.NewDecoder(r.Body).Decode(&order)
		s.denied, s.seconds, s.uri = order.Denied, order.TokenSeconds, order.Uri
		return
	}
	r.ParseForm()
	switch {
	case r.URL.Path == "/metadata/identity/oauth2/token" && r.Header.Get("Metadata") == "true":
		answerJson(w, 200, map[string]string{
			"access_token": s.mint(r.Form.Get("resource")), "expires_in": fmt.Sprint(s.seconds),
			"resource": r.Form.Get("resource"), "token_type": "Bearer"})
	case r.URL.Path == "/"+tenant+"/oauth2/v2.0/token" && r.Form.Get("client_id") == "kms" &&
		(r.Form.Get("client_secret") == "canary-azure-secret" ||
			r.Form.Get("client_assertion") == "canary-assertion"):
		answerJson(w, 200, map[string]any{
			"access_token": s.mint(strings.TrimSuffix(r.Form.Get("scope"), "/.default")),
			"expires_in":   s.seconds, "token_type": "Bearer"})
	default:
		answerJson(w, 401, map[string]string{"error": "invalid_client",
			"error_description": "AADSTS7000215: Invalid client secret provided."})
	}
}

func certificate(file string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "azkv"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, os.WriteFile(file, text, 0o644)
}

func main() {
	port, tokenPort, file := os.Args[1], os.Args[2], os.Args[3]
	it := &service{tokenPort: tokenPort, secret: make([]byte, 32), seconds: 3600}
	it.ownUri = "https://127.0.0.1:" + port
	it.uri, it.keys = it.ownUri, map[string][]*version{}
	it.transport = fake.NewServerTransport(it.server())
	rand.Read(it.secret)
	ours, err := certificate(file)
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		log.Fatal(http.ListenAndServe("127.0.0.1:"+tokenPort, http.HandlerFunc(it.serveTokens)))
	}()
	listener, err := tls.Listen("tcp", "127.0.0.1:"+port, &tls.Config{Certificates: []tls.Certificate{ours}})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.Serve(listener, http.HandlerFunc(it.serveVault)))
}
