package wire

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func drawEntry(t *rapid.T) Entry {
	stamp := func(label string) Stamp {
		return Stamp{Sec: rapid.Int64().Draw(t, label), Nano: rapid.Int32Range(0, 999_999_999).Draw(t, label+" ns")}
	}
	e := Entry{
		Name: rapid.StringN(0, 300, 4000).Draw(t, "name"), Kind: rapid.SampledFrom([]byte("fdlpsbc?")).Draw(t, "kind"),
		Size: rapid.Int64Min(0).Draw(t, "size"), MTime: stamp("mtime"), CTime: stamp("ctime"),
		Inode: rapid.Uint64().Draw(t, "inode"), Device: rapid.Uint64().Draw(t, "device"), Links: rapid.Uint64().Draw(t, "links"),
		Mode: rapid.Uint32Range(0, 0o7777).Draw(t, "mode"),
	}
	if rapid.Bool().Draw(t, "same times") {
		e.CTime = e.MTime
	}
	if e.Kind == 'l' {
		e.Target = rapid.StringN(0, 300, 4000).Draw(t, "target")
	}
	return e
}

// TestEntriesComeAsTheyWere sends entries and requests through the codec.
func TestEntriesComeAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want, got []Entry
		var b, requests []byte
		var before Entry
		for i := range rapid.IntRange(0, 20).Draw(t, "entries") {
			e := drawEntry(t)
			b = AppendEntry(b, &before, &e)
			r := Request{ID: uint32(i), Entry: e, From: int64(i)}
			requests = r.Append(requests, &before)
			before = e
			want = append(want, e)
		}
		if err := NewDecoder(b).EntriesOf(func(e Entry) error { got = append(got, e); return nil }); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%+v became %+v", want, got)
		}
		got = nil
		if err := Requests(requests, func(r Request) { got = append(got, r.Entry) }); err != nil || !slices.Equal(got, want) {
			t.Fatalf("%+v became %+v, %v", want, got, err)
		}
	})
}

// FuzzFrames has the helper say anything: cut anywhere, it means the same, and no more is held than a frame may have.
func FuzzFrames(f *testing.F) {
	data := make([]byte, DataHeaderSize, DataHeaderSize+3)
	PutDataHeader(data, 7, 3)
	data = append(data, "abc"...)
	e := Entry{Name: "a/b", Kind: 'f', Size: 3, Links: 1}
	f.Add(slices.Concat(AppendFrame(nil, Ready, AppendUint(nil, Version)), data, AppendFrame(nil, Beat, nil),
		AppendFrame(nil, Entries, AppendEntry(AppendUint(nil, uint64(WholeOutbox)), &Entry{}, &e))), 5)
	f.Add(AppendHeader(nil, Data, MaxPayload+1), 1)
	f.Add(AppendHeader(nil, Data, 2), 3)
	f.Add(AppendFrame(nil, Gone, AppendText(nil, "x")), 2)
	f.Fuzz(func(t *testing.T, stream []byte, cut int) {
		listen := func(piece int) (said bytes.Buffer, failed bool) {
			p := Parser{
				Frame: func(kind byte, payload []byte) error {
					if len(payload) > MaxPayload {
						t.Fatalf("a payload of %d bytes", len(payload))
					}
					said.WriteByte(kind)
					said.Write(payload)
					decodeAll(payload)
					return nil
				},
				Data: func(id uint32, b []byte) error {
					said.WriteByte(byte(id))
					said.Write(b)
					return nil
				},
			}
			for piece := range slices.Chunk(stream, piece) {
				if _, err := p.Write(piece); err != nil {
					return said, true
				}
			}
			return said, false
		}
		_, whole := listen(max(len(stream), 1))
		if _, pieces := listen(1 + cut&63); whole != pieces {
			t.Fatalf("whole it fails: %v; in pieces: %v", whole, pieces)
		}
	})
}

// decodeAll reads a payload as everything it might be.
func decodeAll(payload []byte) {
	_ = NewDecoder(payload).EntriesOf(func(Entry) error { return nil })
	_ = Requests(payload, func(Request) {})
	_, _ = DecodeOutbox(payload)
	for d := NewDecoder(payload); d.More(); {
		_ = d.Text()
	}
}
