package main

import "github.com/everconn/everconn"

type sendCmd struct{}

func (c *sendCmd) Run(env *environment) error {
	_, err := everconn.New("", nil)
	return err
}
