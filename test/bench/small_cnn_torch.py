# The twin of small_cnn in PyTorch: the same layers, batch norm, Adam, BCE; prints images/s.
import sys, time
import torch
import torch.nn as nn

steps, batch, size, threads = (int(a) for a in sys.argv[1:5])
torch.set_num_threads(threads)
layers, ci = [], 1
for c, s in ((16, 2), (32, 1), (64, 2), (64, 1), (128, 2), (128, 1)):
    layers += [nn.Conv2d(ci, c, 3, stride=s, padding=1, bias=False), nn.BatchNorm2d(c), nn.ReLU()]
    ci = c
net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(ci, 1))
x = torch.randn(batch, 1, size, size)
y = (torch.rand(batch, 1) > 0.5).float()
optimizer = torch.optim.Adam(net.parameters(), 1e-3)
loss_of = nn.BCEWithLogitsLoss()


def step():
    optimizer.zero_grad()
    loss = loss_of(net(x), y)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()
    return loss.item()


for _ in range(3):
    step()
start = time.perf_counter()
for _ in range(steps):
    step()
print(torch.__version__, steps * batch / (time.perf_counter() - start))
