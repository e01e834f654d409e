// A stand-in for Google Cloud KMS over Google's own generated types: keys with versions and states,
// AES-256-GCM with additional authenticated data, and checksums both ways.
package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"
	"sync"
	"time"

	kms "cloud.google.com/go/kms/apiv1/kmspb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type version struct {
	state     kms.CryptoKeyVersion_CryptoKeyVersionState
	destroyAt *timestamppb.Timestamp
	key       []byte
}

type cryptoKey struct {
	described *kms.CryptoKey
	primary   int
	versions  []*version
}

type store struct {
	sync.Mutex
	rings map[string]bool
	keys  map[string]*cryptoKey
	hsms  bool
}

func checksum(data []byte) *wrapperspb.Int64Value {
	return wrapperspb.Int64(int64(crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))))
}

func check(field string, data []byte, sum *wrapperspb.Int64Value) error {
	if sum == nil || sum.Value == checksum(data).Value {
		return nil
	}
	return status.Errorf(codes.InvalidArgument,
		"The checksum in field %s_crc32c did not match the data in field %s.", field, field)
}

func notFound(kind, name string) error {
	return status.Errorf(codes.NotFound, "%s %s not found.", kind, name)
}

func newVersion() *version {
	key := make([]byte, 32)
	rand.Read(key)
	return &version{state: kms.CryptoKeyVersion_ENABLED, key: key}
}

func (s *store) versionOf(name string, key *cryptoKey, index int) *kms.CryptoKeyVersion {
	it := key.versions[index]
	return &kms.CryptoKeyVersion{
		Name:            fmt.Sprintf("%s/cryptoKeyVersions/%d", name, index+1),
		State:           it.state,
		DestroyTime:     it.destroyAt,
		ProtectionLevel: kms.ProtectionLevel_SOFTWARE,
		Algorithm:       kms.CryptoKeyVersion_GOOGLE_SYMMETRIC_ENCRYPTION,
		CreateTime:      key.described.CreateTime,
	}
}

func (s *store) describe(name string, key *cryptoKey) *kms.CryptoKey {
	it := proto.Clone(key.described).(*kms.CryptoKey)
	it.Primary = s.versionOf(name, key, key.primary)
	return it
}

func (s *store) createKeyRing(_ context.Context, q *kms.CreateKeyRingRequest) (*kms.KeyRing, error) {
	name := q.Parent + "/keyRings/" + q.KeyRingId
	if s.rings[name] {
		return nil, status.Errorf(codes.AlreadyExists, "KeyRing %s already exists.", name)
	}
	s.rings[name] = true
	return &kms.KeyRing{Name: name, CreateTime: timestamppb.Now()}, nil
}

func (s *store) createKey(_ context.Context, q *kms.CreateCryptoKeyRequest) (*kms.CryptoKey, error) {
	name := q.Parent + "/cryptoKeys/" + q.CryptoKeyId
	if !s.rings[q.Parent] {
		return nil, notFound("KeyRing", q.Parent)
	}
	if s.keys[name] != nil {
		return nil, status.Errorf(codes.AlreadyExists, "CryptoKey %s already exists.", name)
	}
	described := proto.Clone(q.CryptoKey).(*kms.CryptoKey)
	described.Name, described.CreateTime = name, timestamppb.Now()
	s.keys[name] = &cryptoKey{described: described, versions: []*version{newVersion()}}
	return s.describe(name, s.keys[name]), nil
}

func (s *store) getKey(_ context.Context, q *kms.GetCryptoKeyRequest) (*kms.CryptoKey, error) {
	key := s.keys[q.Name]
	if key == nil {
		return nil, notFound("CryptoKey", q.Name)
	}
	return s.describe(q.Name, key), nil
}

func (s *store) createVersion(_ context.Context, q *kms.CreateCryptoKeyVersionRequest) (*kms.CryptoKeyVersion, error) {
	key := s.keys[q.Parent]
	if key == nil {
		return nil, notFound("CryptoKey", q.Parent)
	}
	key.versions = append(key.versions, newVersion())
	return s.versionOf(q.Parent, key, len(key.versions)-1), nil
}

// The key and the index of a version's name.
func (s *store) find(name string) (string, *cryptoKey, int, error) {
	keyName, number, _ := strings.Cut(name, "/cryptoKeyVersions/")
	index := 0
	fmt.Sscan(number, &index)
	key := s.keys[keyName]
	if key == nil || index < 1 || index > len(key.versions) {
		return "", nil, 0, notFound("CryptoKeyVersion", name)
	}
	return keyName, key, index - 1, nil
}

func (s *store) setPrimary(_ context.Context, q *kms.UpdateCryptoKeyPrimaryVersionRequest) (*kms.CryptoKey, error) {
	_, key, index, err := s.find(q.Name + "/cryptoKeyVersions/" + q.CryptoKeyVersionId)
	if err != nil {
		return nil, err
	}
	key.primary = index
	return s.describe(q.Name, key), nil
}

func (s *store) updateVersion(_ context.Context, q *kms.CryptoKeyVersion) (*kms.CryptoKeyVersion, error) {
	name, key, index, err := s.find(q.Name)
	if err != nil {
		return nil, err
	}
	it := key.versions[index]
	if it.state != kms.CryptoKeyVersion_ENABLED && it.state != kms.CryptoKeyVersion_DISABLED {
		return nil, status.Errorf(codes.FailedPrecondition, "%s is in state %s", q.Name, it.state)
	}
	it.state = q.State
	return s.versionOf(name, key, index), nil
}

func (s *store) destroyVersion(_ context.Context, q *kms.DestroyCryptoKeyVersionRequest) (*kms.CryptoKeyVersion, error) {
	name, key, index, err := s.find(q.Name)
	if err != nil {
		return nil, err
	}
	key.versions[index].state = kms.CryptoKeyVersion_DESTROY_SCHEDULED
	key.versions[index].destroyAt = timestamppb.New(time.Now().Add(30 * 24 * time.Hour))
	return s.versionOf(name, key, index), nil
}

func (s *store) restoreVersion(_ context.Context, q *kms.RestoreCryptoKeyVersionRequest) (*kms.CryptoKeyVersion, error) {
	name, key, index, err := s.find(q.Name)
	if err != nil {
		return nil, err
	}
	key.versions[index].state = kms.CryptoKeyVersion_DISABLED
	key.versions[index].destroyAt = nil
	return s.versionOf(name, key, index), nil
}

func sealer(name string, index int, it *version) (cipher.AEAD, error) {
	if it.state != kms.CryptoKeyVersion_ENABLED {
		return nil, status.Errorf(codes.FailedPrecondition,
			"%s/cryptoKeyVersions/%d is not enabled, current state is: %s.", name, index+1, it.state)
	}
	block, err := aes.NewCipher(it.key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func (s *store) encrypt(_ context.Context, q *kms.EncryptRequest) (*kms.EncryptResponse, error) {
	if err := check("plaintext", q.Plaintext, q.PlaintextCrc32C); err != nil {
		return nil, err
	}
	if err := check("additional_authenticated_data", q.AdditionalAuthenticatedData,
		q.AdditionalAuthenticatedDataCrc32C); err != nil {
		return nil, err
	}
	if len(q.Plaintext) > 65536 || len(q.AdditionalAuthenticatedData) > 65536 {
		return nil, status.Error(codes.InvalidArgument, "plaintext or additional data is too long")
	}
	key := s.keys[q.Name]
	if key == nil {
		return nil, notFound("CryptoKey", q.Name)
	}
	gcm, err := sealer(q.Name, key.primary, key.versions[key.primary])
	if err != nil {
		return nil, err
	}
	head := make([]byte, 16)
	binary.BigEndian.PutUint32(head, uint32(key.primary+1))
	rand.Read(head[4:])
	sealed := gcm.Seal(head, head[4:16], q.Plaintext, q.AdditionalAuthenticatedData)
	return &kms.EncryptResponse{
		Name:                    fmt.Sprintf("%s/cryptoKeyVersions/%d", q.Name, key.primary+1),
		Ciphertext:              sealed,
		CiphertextCrc32C:        checksum(sealed),
		VerifiedPlaintextCrc32C: q.PlaintextCrc32C != nil,
		VerifiedAdditionalAuthenticatedDataCrc32C: q.AdditionalAuthenticatedDataCrc32C != nil,
		ProtectionLevel: kms.ProtectionLevel_SOFTWARE,
	}, nil
}

func (s *store) decrypt(_ context.Context, q *kms.DecryptRequest) (*kms.DecryptResponse, error) {
	if err := check("ciphertext", q.Ciphertext, q.CiphertextCrc32C); err != nil {
		return nil, err
	}
	if err := check("additional_authenticated_data", q.AdditionalAuthenticatedData,
		q.AdditionalAuthenticatedDataCrc32C); err != nil {
		return nil, err
	}
	key := s.keys[q.Name]
	if key == nil {
		return nil, notFound("CryptoKey", q.Name)
	}
	bad := status.Error(codes.InvalidArgument,
		"Decryption failed: verify that 'name' refers to the correct CryptoKey.")
	if len(q.Ciphertext) < 32 {
		return nil, bad
	}
	index := int(binary.BigEndian.Uint32(q.Ciphertext)) - 1
	if index < 0 || index >= len(key.versions) {
		return nil, bad
	}
	gcm, err := sealer(q.Name, index, key.versions[index])
	if err != nil {
		return nil, err
	}
	plaintext, err := gcm.Open(nil, q.Ciphertext[4:16], q.Ciphertext[16:], q.AdditionalAuthenticatedData)
	if err != nil {
		return nil, bad
	}
	return &kms.DecryptResponse{
		Plaintext:       plaintext,
		PlaintextCrc32C: checksum(plaintext),
		UsedPrimary:     index == key.primary,
		ProtectionLevel: kms.ProtectionLevel_SOFTWARE,
	}, nil
}

func (s *store) randomBytes(_ context.Context, q *kms.GenerateRandomBytesRequest) (*kms.GenerateRandomBytesResponse, error) {
	if q.LengthBytes < 8 || q.LengthBytes > 1024 {
		return nil, status.Error(codes.InvalidArgument, "length_bytes must be between 8 and 1024")
	}
	if !s.hsms || q.ProtectionLevel != kms.ProtectionLevel_HSM {
		return nil, status.Error(codes.InvalidArgument, "protection_level is not supported here")
	}
	data := make([]byte, q.LengthBytes)
	rand.Read(data)
	return &kms.GenerateRandomBytesResponse{Data: data, DataCrc32C: checksum(data)}, nil
}
