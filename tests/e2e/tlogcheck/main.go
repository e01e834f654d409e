// tlogcheck KEY ORIGIN FOLDER reads a tenant's evidence log on disk with the libraries of Go's checksum
// database, which share nothing with the service: the checkpoint and every older one as notes by KEY,
// the hash tiles as those of the checkpoint's tree, each entry as the leaf that the tree has there, and
// that each older checkpoint is of a prefix. Prints "SIZE leaves, N checkpoints".
package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

// folder reads tiles. Their paths are those of tlog but for the height, which tlog-tiles leaves out.
type folder string

func (f folder) Height() int                         { return height }
func (f folder) SaveTiles(_ []tlog.Tile, _ [][]byte) {}

func (f folder) read(whole string, width int) ([]byte, error) {
	if width < 1<<height {
		content, err := os.ReadFile(filepath.Join(string(f), fmt.Sprintf("%s.p/%d", whole, width)))
		if err == nil || !os.IsNotExist(err) {
			return content, err
		}
	}
	return os.ReadFile(filepath.Join(string(f), whole))
}

func pathOf(tile tlog.Tile) string {
	tile.W = 1 << height
	return strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/", height), "tile/", 1)
}

func (f folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		content, err := f.read(pathOf(tile), tile.W)
		if err != nil {
			return nil, err
		}
		if bytes := tile.W * tlog.HashSize; len(content) > bytes {
			content = content[:bytes]
		}
		all = append(all, content)
	}
	return all, nil
}

// entries of one tile, of which the log has width.
func (f folder) entries(index int64, width int) ([][]byte, error) {
	path := strings.Replace(pathOf(tlog.Tile{H: height, N: index}), "tile/0/", "tile/entries/", 1)
	content, err := f.read(path, width)
	if err != nil {
		return nil, err
	}
	var all [][]byte
	for len(all) < width {
		if len(content) < 2 {
			return nil, fmt.Errorf("%s ends after %d of %d entries", path, len(all), width)
		}
		size := int(binary.BigEndian.Uint16(content))
		if len(content) < 2+size {
			return nil, fmt.Errorf("%s: entry %d is cut off", path, len(all))
		}
		all, content = append(all, content[2:2+size]), content[2+size:]
	}
	return all, nil
}

func treeOf(text []byte, verifiers note.Verifiers, origin string) (tlog.Tree, error) {
	opened, err := note.Open(text, verifiers)
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[0] != origin {
		return tlog.Tree{}, fmt.Errorf("a checkpoint of %q, not of %q", lines[0], origin)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: root}, err
}

func olderCheckpoints(at folder, verifiers note.Verifiers, origin string) ([]tlog.Tree, error) {
	content, err := os.ReadFile(filepath.Join(string(at), "checkpoints.jsonl"))
	if err != nil {
		return nil, err
	}
	var trees []tlog.Tree
	for _, line := range bytes.Split(bytes.TrimSpace(content), []byte("\n")) {
		var one struct{ Note string }
		if json.Unmarshal(line, &one) != nil {
			continue // a kill cut it off
		}
		tree, err := treeOf([]byte(one.Note), verifiers, origin)
		if err != nil {
			return nil, fmt.Errorf("checkpoints.jsonl: %w", err)
		}
		trees = append(trees, tree)
	}
	return trees, nil
}

func check(key, origin string, at folder) error {
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return err
	}
	verifiers := note.VerifierList(verifier)
	text, err := os.ReadFile(filepath.Join(string(at), "checkpoint"))
	if err != nil {
		return err
	}
	tree, err := treeOf(text, verifiers, origin)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	hashes := tlog.TileHashReader(tree, at) // believes no tile that the tree does not have
	root, err := tlog.TreeHash(tree.N, hashes)
	if err != nil {
		return err
	}
	if root != tree.Hash {
		return fmt.Errorf("the root is %v, and the checkpoint says %v", root, tree.Hash)
	}
	for begin := int64(0); begin < tree.N; begin += 1 << height {
		entries, err := at.entries(begin>>height, int(min(1<<height, tree.N-begin)))
		if err != nil {
			return err
		}
		var indexes []int64
		for i := range entries {
			indexes = append(indexes, tlog.StoredHashIndex(0, begin+int64(i)))
		}
		found, err := hashes.ReadHashes(indexes)
		if err != nil {
			return err
		}
		for i, entry := range entries {
			if found[i] != tlog.RecordHash(entry) {
				return fmt.Errorf("entry %d is not the leaf that the tree has there", begin+int64(i))
			}
		}
		proof, err := tlog.ProveRecord(tree.N, begin, hashes)
		if err == nil {
			err = tlog.CheckRecord(proof, tree.N, tree.Hash, begin, tlog.RecordHash(entries[0]))
		}
		if err != nil {
			return fmt.Errorf("entry %d: %w", begin, err)
		}
	}
	older, err := olderCheckpoints(at, verifiers, origin)
	if err != nil {
		return err
	}
	for _, each := range older {
		proof, err := tlog.ProveTree(tree.N, each.N, hashes)
		if err == nil {
			err = tlog.CheckTree(proof, tree.N, tree.Hash, each.N, each.Hash)
		}
		if err != nil {
			return fmt.Errorf("the checkpoint of %d leaves is of no prefix: %w", each.N, err)
		}
	}
	fmt.Printf("%d leaves, %d checkpoints\n", tree.N, len(older))
	return nil
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: tlogcheck KEY ORIGIN FOLDER")
		os.Exit(2)
	}
	if err := check(os.Args[1], os.Args[2], folder(os.Args[3])); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
