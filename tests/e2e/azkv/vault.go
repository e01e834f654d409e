// A stand-in for Azure Key Vault over Microsoft's own generated server: routes, JSON and models are
// Microsoft's; keys, their states and the cryptography are here.
package main

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/big"
	"slices"
	"strings"
	"sync"
	"time"

	azfake "github.com/Azure/azure-sdk-for-go/sdk/azcore/fake"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys/fake"
)

type version struct {
	id      string
	kind    azkeys.KeyType
	rsa     *rsa.PrivateKey
	oct     []byte
	enabled bool
	created time.Time
}

type vault struct {
	sync.Mutex
	uri    string
	ownUri string
	keys   map[string][]*version
	denied []string // of operations
}

// A refusal: what the service has as status, error.code, error.innererror.code and error.message.
type refusal struct {
	status             int
	code, inner, words string
}

var allOperations = []*azkeys.KeyOperation{
	pointer(azkeys.KeyOperationWrapKey), pointer(azkeys.KeyOperationUnwrapKey)}

func pointer[T any](value T) *T { return &value }

// The generated server's pattern is greedy: a name can hold "name/version".
func split(name, id string) (string, string) {
	name = strings.Trim(name, "/")
	if before, after, found := strings.Cut(name, "/"); found {
		return before, after
	}
	return name, id
}

func (v *vault) find(name, id string) (string, *version, *refusal) {
	name, id = split(name, id)
	versions := v.keys[name]
	for _, it := range slices.Backward(versions) {
		if id == "" || it.id == id {
			return name, it, nil
		}
	}
	return name, nil, &refusal{404, "KeyNotFound", "",
		"A key with (name/id) " + name + "/" + id + " was not found in this key vault."}
}

func (v *vault) refuses(operation string) *refusal {
	if !slices.Contains(v.denied, operation) {
		return nil
	}
	return &refusal{403, "Forbidden", "ForbiddenByRbac",
		"Caller is not authorized to perform action on resource: " + operation}
}

func (v *vault) bundle(name string, it *version) azkeys.KeyBundle {
	key := &azkeys.JSONWebKey{
		KID:    pointer(azkeys.ID(v.uri + "/keys/" + name + "/" + it.id)),
		Kty:    &it.kind,
		KeyOps: allOperations,
	}
	if it.rsa != nil {
		key.N, key.E = it.rsa.N.Bytes(), big.NewInt(int64(it.rsa.E)).Bytes()
	}
	return azkeys.KeyBundle{Key: key, Attributes: &azkeys.KeyAttributes{
		Enabled: &it.enabled, Created: &it.created, Updated: &it.created}}
}

func newVersion(kind azkeys.KeyType) (*version, *refusal) {
	id := make([]byte, 16)
	rand.Read(id)
	it := &version{id: hex.EncodeToString(id), kind: kind, enabled: true, created: time.Now().UTC()}
	switch kind {
	case azkeys.KeyTypeRSA, azkeys.KeyTypeRSAHSM:
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return nil, &refusal{500, "InternalError", "", err.Error()}
		}
		it.rsa = key
	case azkeys.KeyTypeOctHSM:
		it.oct = make([]byte, 32)
		rand.Read(it.oct)
	default:
		return nil, &refusal{400, "BadParameter", "", "kty is not supported"}
	}
	return it, nil
}

// AES key wrap, RFC 3394, sections 2.2.1 and 2.2.2.
func wrapByAes(key, plaintext []byte) ([]byte, error) {
	if len(plaintext)%8 != 0 || len(plaintext) < 16 {
		return nil, errors.New("the length is wrong")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	count := len(plaintext) / 8
	out := append(bytes.Repeat([]byte{0xa6}, 8), plaintext...)
	for j := range 6 {
		for i := 1; i <= count; i++ {
			var both [16]byte
			copy(both[:8], out[:8])
			copy(both[8:], out[i*8:i*8+8])
			block.Encrypt(both[:], both[:])
			binary.BigEndian.PutUint64(out, binary.BigEndian.Uint64(both[:8])^uint64(count*j+i))
			copy(out[i*8:], both[8:])
		}
	}
	return out, nil
}

func unwrapByAes(key, wrapped []byte) ([]byte, error) {
	if len(wrapped)%8 != 0 || len(wrapped) < 24 {
		return nil, errors.New("the length is wrong")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	count := len(wrapped)/8 - 1
	out := slices.Clone(wrapped)
	for j := 5; j >= 0; j-- {
		for i := count; i >= 1; i-- {
			var both [16]byte
			binary.BigEndian.PutUint64(both[:], binary.BigEndian.Uint64(out)^uint64(count*j+i))
			copy(both[8:], out[i*8:i*8+8])
			block.Decrypt(both[:], both[:])
			copy(out[:8], both[:8])
			copy(out[i*8:], both[8:])
		}
	}
	if !bytes.Equal(out[:8], bytes.Repeat([]byte{0xa6}, 8)) {
		return nil, errors.New("the integrity check failed")
	}
	return out[8:], nil
}

func transform(it *version, algorithm azkeys.EncryptionAlgorithm, wraps bool, value []byte) ([]byte, error) {
	switch {
	case it.rsa != nil && algorithm == azkeys.EncryptionAlgorithmRSAOAEP256 && wraps:
		return rsa.EncryptOAEP(sha256.New(), rand.Reader, &it.rsa.PublicKey, value, nil)
	case it.rsa != nil && algorithm == azkeys.EncryptionAlgorithmRSAOAEP256:
		return rsa.DecryptOAEP(sha256.New(), nil, it.rsa, value, nil)
	case it.oct != nil && algorithm == azkeys.EncryptionAlgorithmA256KW && wraps:
		return wrapByAes(it.oct, value)
	case it.oct != nil && algorithm == azkeys.EncryptionAlgorithmA256KW:
		return unwrapByAes(it.oct, value)
	}
	return nil, errors.New("Key and signing algorithm are incompatible")
}

func (v *vault) operate(operation, name, id string, q azkeys.KeyOperationParameters) (azkeys.KeyOperationResult, *refusal) {
	v.Lock()
	defer v.Unlock()
	none := azkeys.KeyOperationResult{}
	if refused := v.refuses(operation); refused != nil {
		return none, refused
	}
	name, it, refused := v.find(name, id)
	if refused != nil {
		return none, refused
	}
	if !it.enabled {
		return none, &refusal{403, "Forbidden", "KeyDisabled",
			"Operation " + operation + " is not allowed on a disabled key."}
	}
	if q.Algorithm == nil || len(q.Value) == 0 {
		return none, &refusal{400, "BadParameter", "", "Property alg or value is required"}
	}
	value, err := transform(it, *q.Algorithm, operation == "wrapKey", q.Value)
	if err != nil {
		return none, &refusal{400, "BadParameter", "", "The parameter is incorrect. " + err.Error()}
	}
	return azkeys.KeyOperationResult{
		KID: pointer(azkeys.ID(v.uri + "/keys/" + name + "/" + it.id)), Result: value}, nil
}

func (v *vault) create(name string, q azkeys.CreateKeyParameters) (azkeys.KeyBundle, *refusal) {
	v.Lock()
	defer v.Unlock()
	it, refused := newVersion(*q.Kty)
	if refused != nil {
		return azkeys.KeyBundle{}, refused
	}
	v.keys[name] = append(v.keys[name], it)
	return v.bundle(name, it), nil
}

func (v *vault) get(name, id string) (azkeys.KeyBundle, *refusal) {
	v.Lock()
	defer v.Unlock()
	if refused := v.refuses("get"); refused != nil {
		return azkeys.KeyBundle{}, refused
	}
	name, it, refused := v.find(name, id)
	if refused != nil {
		return azkeys.KeyBundle{}, refused
	}
	return v.bundle(name, it), nil
}

func (v *vault) update(name, id string, q azkeys.UpdateKeyParameters) (azkeys.KeyBundle, *refusal) {
	v.Lock()
	defer v.Unlock()
	name, it, refused := v.find(name, id)
	if refused != nil {
		return azkeys.KeyBundle{}, refused
	}
	if q.KeyAttributes != nil && q.KeyAttributes.Enabled != nil {
		it.enabled = *q.KeyAttributes.Enabled
	}
	return v.bundle(name, it), nil
}

// Of what a method answers, the generated server's form.
func respond[T any](answer T, refused *refusal) (ok azfake.Responder[T], not azfake.ErrorResponder) {
	if refused != nil {
		not.SetResponseError(refused.status, refused.code+"|"+refused.inner+"|"+refused.words)
		return ok, not
	}
	ok.SetResponse(200, answer, nil)
	return ok, not
}

func (v *vault) server() *fake.Server {
	return &fake.Server{
		CreateKey: func(_ context.Context, name string, q azkeys.CreateKeyParameters, _ *azkeys.CreateKeyOptions) (azfake.Responder[azkeys.CreateKeyResponse], azfake.ErrorResponder) {
			made, refused := v.create(name, q)
			return respond(azkeys.CreateKeyResponse{KeyBundle: made}, refused)
		},
		GetKey: func(_ context.Context, name, id string, _ *azkeys.GetKeyOptions) (azfake.Responder[azkeys.GetKeyResponse], azfake.ErrorResponder) {
			it, refused := v.get(name, id)
			return respond(azkeys.GetKeyResponse{KeyBundle: it}, refused)
		},
		UpdateKey: func(_ context.Context, name, id string, q azkeys.UpdateKeyParameters, _ *azkeys.UpdateKeyOptions) (azfake.Responder[azkeys.UpdateKeyResponse], azfake.ErrorResponder) {
			it, refused := v.update(name, id, q)
			return respond(azkeys.UpdateKeyResponse{KeyBundle: it}, refused)
		},
		WrapKey: func(_ context.Context, name, id string, q azkeys.KeyOperationParameters, _ *azkeys.WrapKeyOptions) (azfake.Responder[azkeys.WrapKeyResponse], azfake.ErrorResponder) {
			it, refused := v.operate("wrapKey", name, id, q)
			return respond(azkeys.WrapKeyResponse{KeyOperationResult: it}, refused)
		},
		UnwrapKey: func(_ context.Context, name, id string, q azkeys.KeyOperationParameters, _ *azkeys.UnwrapKeyOptions) (azfake.Responder[azkeys.UnwrapKeyResponse], azfake.ErrorResponder) {
			it, refused := v.operate("unwrapKey", name, id, q)
			return respond(azkeys.UnwrapKeyResponse{KeyOperationResult: it}, refused)
		},
	}
}
