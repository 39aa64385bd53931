// Package chat is an application's model: it starts shimmy beside itself and chats with it.
package chat

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"time"
)

// ErrCut is the error of an answer that is not whole.
var ErrCut = errors.New("the answer ended too early")

// Sidecar is a running shimmy.
type Sidecar struct {
	URL   string
	model string
	done  chan error
	stop  context.CancelFunc
}

// Start starts the executable and waits until it answers, or ctx ends. A modelPath may be empty:
// shimmy looks for models itself then.
func Start(ctx context.Context, executable string, port int, model, modelPath string) (*Sidecar, error) {
	address := fmt.Sprintf("127.0.0.1:%d", port)
	args := []string{"serve", "--bind", address}
	if modelPath != "" {
		args = append(args, "--model-path", modelPath)
	}
	life, stop := context.WithCancel(context.Background())
	command := exec.CommandContext(life, executable, args...)
	if err := command.Start(); err != nil {
		stop()
		return nil, err
	}
	sidecar := &Sidecar{"http://" + address, model, make(chan error, 1), stop}
	go func() { sidecar.done <- command.Wait() }()
	for {
		if answer, err := http.Get(sidecar.URL + "/health"); err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return sidecar, nil
			}
		}
		select {
		case err := <-sidecar.done:
			stop()
			return nil, fmt.Errorf("shimmy ended while starting: %v", err)
		case <-ctx.Done():
			sidecar.Stop()
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop ends it.
func (s *Sidecar) Stop() {
	s.stop()
	<-s.done
}

// Ask gives each piece of the answer to say as it comes.
func (s *Sidecar) Ask(ctx context.Context, question string, say func(string)) error {
	body, err := json.Marshal(map[string]any{
		"model":    s.model,
		"stream":   true,
		"messages": []map[string]string{{"role": "user", "content": question}},
	})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(
		ctx, http.MethodPost, s.URL+"/v1/chat/completions", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("content-type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("shimmy answers with status %d", answer.StatusCode)
	}
	return read(answer.Body, say)
}

func read(stream io.Reader, say func(string)) error {
	lines := bufio.NewReader(stream)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return fmt.Errorf("%w: %v", ErrCut, err)
		}
		data, isData := strings.CutPrefix(strings.TrimSpace(line), "data: ")
		if !isData {
			continue
		}
		if data == "[DONE]" {
			return nil
		}
		var chunk struct {
			Choices []struct{ Delta struct{ Content string } }
			Error   *struct{ Message string }
		}
		if err := json.Unmarshal([]byte(data), &chunk); err != nil {
			return fmt.Errorf("%w: %v", ErrCut, err)
		}
		if chunk.Error != nil {
			return errors.New(chunk.Error.Message)
		}
		for _, choice := range chunk.Choices {
			say(choice.Delta.Content)
		}
	}
}
